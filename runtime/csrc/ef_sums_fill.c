#include <stddef.h>

#include "ef_sums.h"
#include "ef_swar.h"

#if EF_HAS_ARMV6M

typedef char ef_sums_layout_is_known[offsetof(ef_sums_values, steps) == 32 &&
                                     offsetof(ef_sums_values, bias) == 96
                                         ? 1
                                         : -1];

/* r0 table, r1 values, r2 input, r3 step, r4-r7 words of a half line; r8 and r9 inputs, r10 values,
 * r11 second table, r12 end of the table. The first half of every line of 16 entries, then the
 * second. Stack: x. */
__attribute__((naked)) void ef_sums_fill(__attribute__((unused)) uint16_t *tables,
                                         __attribute__((unused)) const ef_sums_values *values,
                                         __attribute__((unused)) const int8_t *x)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_sums_half_line\n"
        "ldm r1!, {r3}\n"
        "muls r3, r2, r3\n"
        "adds r4, r4, r3\n"
        "adds r5, r5, r3\n"
        "adds r6, r6, r3\n"
        "adds r7, r7, r3\n"
        "stm r0!, {r4-r7}\n"
        "adds r0, r0, #16\n"
        ".endm\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r2, r4-r7}\n"
        "mov r10, r1\n"
        "movs r5, #2\n"
        "lsls r5, r5, #8\n"
        "adds r5, r5, r0\n"
        "mov r11, r5\n"
        "0:\n"
        "movs r4, #0\n"
        "ldrsb r3, [r2, r4]\n"
        "mov r8, r3\n"
        "movs r4, #1\n"
        "ldrsb r3, [r2, r4]\n"
        "mov r9, r3\n"
        "mov r12, r5\n"
        "1:\n"
        "ldm r1!, {r4-r7}\n"
        "mov r2, r8\n"
        "muls r4, r2, r4\n"
        "muls r5, r2, r5\n"
        "muls r6, r2, r6\n"
        "muls r7, r2, r7\n"
        "mov r1, r10\n"
        "adds r1, r1, #96\n"
        "ldr r3, [r1]\n"
        "subs r1, r1, #64\n"
        "adds r4, r4, r3\n"
        "adds r5, r5, r3\n"
        "adds r6, r6, r3\n"
        "adds r7, r7, r3\n"
        "mov r2, r9\n"
        "2:\n"
        ".rept 8\n"
        "ef_sums_half_line\n"
        ".endr\n"
        "cmp r0, r12\n"
        "blo 2b\n"
        /* again 16 bytes on, unless that was the second half */
        "bne 3f\n"
        "mov r0, r12\n"
        "movs r1, #2\n"
        "lsls r1, r1, #8\n"
        "subs r0, r0, r1\n"
        "adds r0, r0, #16\n"
        "mov r1, r10\n"
        "adds r1, r1, #16\n"
        "b 1b\n"
        /* again for the next table, unless that was the second */
        "3:\n"
        "mov r0, r11\n"
        "cmp r0, r12\n"
        "bne 4f\n"
        "movs r5, #2\n"
        "lsls r5, r5, #8\n"
        "adds r5, r5, r0\n"
        "mov r1, r10\n"
        "ldr r2, [sp]\n"
        "adds r2, r2, #2\n"
        "b 0b\n"
        "4:\n"
        "pop {r2, r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_sums_half_line\n");
}

#else

void ef_sums_fill(uint16_t *tables, const ef_sums_values *values, const int8_t *x)
{
    for (uint32_t table = 0; table < EF_SUMS_TABLES; table++) {
        const uint32_t x0 = (uint32_t)x[0];
        const uint32_t x1 = (uint32_t)x[1];
        for (uint32_t half = 0; half < 2; half++) {
            uint32_t words[4];
            for (uint32_t i = 0; i < 4; i++) {
                words[i] = values->pairs[4 * half + i] * x0 + values->bias;
            }
            for (uint32_t line = 0; line < 16; line++) {
                const uint32_t step = values->steps[line] * x1;
                uint16_t *to = tables + 16 * line + 8 * half;
                for (uint32_t i = 0; i < 4; i++) {
                    words[i] += step;
                    *to++ = (uint16_t)words[i];
                    *to++ = (uint16_t)(words[i] >> 16);
                }
            }
        }
        tables += EF_SUMS_ENTRIES;
        x += 2;
    }
}

#endif

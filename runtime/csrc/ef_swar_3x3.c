#include "ef_swar_3x3.h"

#include <stddef.h>

#include "ef_swar.h"

#if EF_HAS_ARMV6M

typedef char ef_swar_3x3_layout_is_known[offsetof(ef_swar_3x3, bias) == 36 &&
                                         offsetof(ef_swar_3x3, zero_point) == 48 &&
                                         offsetof(ef_swar_3x3, plane) == 60 &&
                                         offsetof(ef_swar_3x3, columns) == 76 &&
                                         offsetof(ef_swar_3x3, out) == 84 &&
                                         sizeof(ef_swar_3x3) == 96
                                             ? 1
                                             : -1];

/* Two taps at a time: the sum of two signed products and 2^15 is in 0..65535, so that the halves of
 * the word do not run into each other. Requantization as in ef_swar_finish.
 *
 * r0-r2 lines of the plane, r3, r4, r6 free, r5 sum of words, r7 2^15; r8 sum of upper halves, r9
 * the multiplier's upper half, r10 rounding and zero point, r11 -shift - 4, r12 low, lr high.
 * Stack: a copy of the struct; 96 columns left, 100 and 104 the two sums, 108 start of sums. */
__attribute__((naked)) void ef_swar_3x3_run(__attribute__((unused)) const ef_swar_3x3 *channel)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_swar_flush\n"
        "adds r3, r3, r7\n"
        "adds r5, r5, r3\n"
        "asrs r3, r3, #16\n"
        "add r8, r3\n"
        ".endm\n"
        ".macro ef_swar_taps line, at, next_line, next_at, weight\n"
        "ldr r3, [\\line, #\\at]\n"
        "ldr r4, [sp, #4 * \\weight]\n"
        "muls r3, r4, r3\n"
        "ldr r4, [\\next_line, #\\next_at]\n"
        "ldr r6, [sp, #4 * \\weight + 4]\n"
        "muls r4, r6, r4\n"
        "adds r3, r3, r4\n"
        "ef_swar_flush\n"
        ".endm\n"
        ".macro ef_swar_requantize sum, saved\n"
        "str \\sum, [sp, #\\saved]\n"
        "uxth r4, \\sum\n"
        "asrs \\sum, \\sum, #16\n"
        "mov r3, r9\n"
        "muls r4, r3, r4\n"
        "muls \\sum, r3, \\sum\n"
        "lsrs r4, r4, #16\n"
        "adds \\sum, \\sum, r4\n"
        "add \\sum, r10\n"
        "mov r4, r11\n"
        "asrs \\sum, \\sum, r4\n"
        "lsls r4, \\sum, #28\n"
        "beq 5f\n"
        "asrs \\sum, \\sum, #4\n"
        "4:\n"
        "cmp \\sum, r12\n"
        "blt 6f\n"
        "cmp \\sum, lr\n"
        "bgt 7f\n"
        "b 8f\n"
        /* in doubt: the exact way */
        "5:\n"
        "push {r0-r2, r5, r6}\n"
        "ldr r0, [sp, #20 + \\saved]\n"
        "ldr r1, [sp, #20 + 40]\n"
        "ldr r2, [sp, #20 + 44]\n"
        "bl ef_swar_requantize\n"
        "ldr r1, [sp, #20 + 48]\n"
        "adds r3, r0, r1\n"
        "ldr r1, [sp, #20 + 52]\n"
        "mov r12, r1\n"
        "ldr r1, [sp, #20 + 56]\n"
        "mov lr, r1\n"
        "pop {r0-r2, r5, r6}\n"
        "mov \\sum, r3\n"
        "b 4b\n"
        "6:\n"
        "mov \\sum, r12\n"
        "b 8f\n"
        "7:\n"
        "mov \\sum, lr\n"
        "8:\n"
        ".endm\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r4-r7}\n"
        "sub sp, sp, #112\n"
        "mov r1, sp\n"
        ".rept 6\n"
        "ldm r0!, {r2-r5}\n"
        "stm r1!, {r2-r5}\n"
        ".endr\n"
        "movs r7, #128\n"
        "lsls r7, r7, #8\n"
        /* five flushes */
        "ldr r3, [sp, #36]\n"
        "lsls r4, r7, #2\n"
        "adds r4, r4, r7\n"
        "subs r3, r3, r4\n"
        "str r3, [sp, #108]\n"
        "ldr r3, [sp, #40]\n"
        "asrs r3, r3, #15\n"
        "ldr r4, [sp, #44]\n"
        "rsbs r4, r4, #0\n"
        "ldr r5, [sp, #48]\n"
        "lsls r5, r4\n"
        "subs r4, r4, #5\n"
        "movs r6, #17\n"
        "lsls r6, r4\n"
        "adds r5, r5, r6\n"
        "adds r4, r4, #1\n"
        "cmp r4, #3\n"
        "bge 1f\n"
        "movs r3, #0\n" /* looks like doubt */
        "movs r5, #0\n"
        "1:\n"
        "mov r9, r3\n"
        "mov r10, r5\n"
        "mov r11, r4\n"
        "ldr r3, [sp, #52]\n"
        "mov r12, r3\n"
        "ldr r3, [sp, #56]\n"
        "mov lr, r3\n"
        "ldr r0, [sp, #60]\n"
        "ldr r3, [sp, #64]\n"
        "adds r1, r0, r3\n"
        "adds r2, r1, r3\n"
        "2:\n"
        "ldr r3, [sp, #76]\n"
        "str r3, [sp, #96]\n"
        "3:\n"
        "ldr r5, [sp, #108]\n"
        "movs r3, #0\n"
        "mov r8, r3\n"
        "ef_swar_taps r0, 0, r0, 4, 0\n"
        "ef_swar_taps r0, 8, r1, 0, 2\n"
        "ef_swar_taps r1, 4, r1, 8, 4\n"
        "ef_swar_taps r2, 0, r2, 4, 6\n"
        "ldr r3, [r2, #8]\n"
        "ldr r4, [sp, #32]\n"
        "muls r3, r4, r3\n"
        "ef_swar_flush\n"
        "mov r6, r8\n"
        "lsls r4, r6, #16\n"
        "subs r5, r5, r4\n"
        "ldr r4, [sp, #36]\n"
        "adds r6, r6, r4\n"
        "ef_swar_requantize r5, 100\n"
        "ef_swar_requantize r6, 104\n"
        "ldr r4, [sp, #84]\n"
        "ldr r3, [sp, #92]\n"
        "strb r6, [r4, r3]\n"
        "strb r5, [r4]\n" /* last: it stays where the partner has the same place */
        "ldr r3, [sp, #88]\n"
        "adds r4, r4, r3\n"
        "str r4, [sp, #84]\n"
        "ldr r3, [sp, #68]\n"
        "adds r0, r0, r3\n"
        "adds r1, r1, r3\n"
        "adds r2, r2, r3\n"
        "ldr r3, [sp, #96]\n"
        "subs r3, r3, #1\n"
        "str r3, [sp, #96]\n"
        "beq 9f\n"
        "b 3b\n"
        "9:\n"
        "ldr r3, [sp, #72]\n"
        "adds r0, r0, r3\n"
        "adds r1, r1, r3\n"
        "adds r2, r2, r3\n"
        "ldr r3, [sp, #80]\n"
        "subs r3, r3, #1\n"
        "str r3, [sp, #80]\n"
        "beq 9f\n"
        "b 2b\n"
        "9:\n"
        "add sp, sp, #112\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_swar_flush\n"
        ".purgem ef_swar_taps\n"
        ".purgem ef_swar_requantize\n");
}

#else

void ef_swar_3x3_run(const ef_swar_3x3 *channel)
{
    const uint32_t *corner = channel->plane;
    int8_t *out = channel->out;
    for (int32_t row = 0; row < channel->rows; row++) {
        for (int32_t column = 0; column < channel->columns; column++) {
            int32_t sums[2] = {channel->bias, channel->bias};
            for (int32_t tap = 0; tap < 9; tap++) {
                const int32_t weight = channel->weights[tap];
                const uint32_t word = corner[tap / 3 * (channel->pitch / 4) + tap % 3];
                const int32_t first = (int32_t)(word << 16) >> 16;
                sums[0] += weight * first;
                sums[1] += weight * ((int32_t)(word - (uint32_t)first) >> 16);
            }
            for (int32_t p = 1; p >= 0; p--) {
                const int32_t scaled =
                    ef_swar_requantize(sums[p], channel->multiplier, channel->shift);
                out[p * channel->out_second] =
                    ef_clamp_s8(scaled + channel->zero_point, channel->low, channel->high);
            }
            out += channel->out_step;
            corner += channel->step / 4;
        }
        corner += channel->gap / 4;
    }
}

#endif

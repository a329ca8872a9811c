#include "ef_sums.h"
#include "ef_swar.h"

#if EF_HAS_ARMV6M

/* r0 codes, r1 and r2 tables, r3 entry, r4-r7 sums; r8 where they lie, r12 end of the codes. */
__attribute__((naked)) void ef_sums_add(__attribute__((unused)) const uint8_t *codes,
                                        __attribute__((unused)) const uint16_t *tables,
                                        __attribute__((unused)) uint32_t *sums,
                                        __attribute__((unused)) uint32_t fours)
{
    __asm__ volatile(".syntax unified\n"
                     ".macro ef_sums_look_up at, table, sum\n"
                     "ldrb r3, [r0, #\\at]\n"
                     "lsls r3, r3, #1\n"
                     "ldrh r3, [\\table, r3]\n"
                     "adds \\sum, \\sum, r3\n"
                     ".endm\n"
                     ".macro ef_sums_four at\n"
                     "mov r3, r8\n"
                     "ldm r3!, {r4-r7}\n"
                     "ef_sums_look_up \\at, r1, r4\n"
                     "ef_sums_look_up \\at + 1, r2, r4\n"
                     "ef_sums_look_up \\at + 2, r1, r5\n"
                     "ef_sums_look_up \\at + 3, r2, r5\n"
                     "ef_sums_look_up \\at + 4, r1, r6\n"
                     "ef_sums_look_up \\at + 5, r2, r6\n"
                     "ef_sums_look_up \\at + 6, r1, r7\n"
                     "ef_sums_look_up \\at + 7, r2, r7\n"
                     "mov r3, r8\n"
                     "stm r3!, {r4-r7}\n"
                     "mov r8, r3\n"
                     ".endm\n"
                     "push {r4-r7, lr}\n"
                     "mov r4, r8\n"
                     "push {r3, r4}\n"
                     "mov r8, r2\n"
                     "lsls r4, r3, #3\n"
                     "adds r4, r4, r0\n"
                     "mov r12, r4\n"
                     "movs r2, #2\n"
                     "lsls r2, r2, #8\n"
                     "adds r2, r2, r1\n"
                     /* an odd number of fours: the first round is half a one */
                     "lsrs r3, r3, #1\n"
                     "bcc 1f\n"
                     "subs r0, r0, #8\n"
                     "b 2f\n"
                     "1:\n"
                     "ef_sums_four 0\n"
                     "2:\n"
                     "ef_sums_four 8\n"
                     "adds r0, r0, #16\n"
                     "cmp r0, r12\n"
                     "bne 1b\n"
                     "pop {r3, r4}\n"
                     "mov r8, r4\n"
                     "pop {r4-r7, pc}\n"
                     ".purgem ef_sums_look_up\n"
                     ".purgem ef_sums_four\n");
}

#else

void ef_sums_add(const uint8_t *codes, const uint16_t *tables, uint32_t *sums, uint32_t fours)
{
    for (uint32_t i = 0; i < 4 * fours; i++) {
        sums[i] += (uint32_t)tables[codes[2 * i]] + tables[EF_SUMS_ENTRIES + codes[2 * i + 1]];
    }
}

#endif

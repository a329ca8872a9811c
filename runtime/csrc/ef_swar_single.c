#include "ef_swar.h"

#if EF_HAS_ARMV6M

/* r0 inputs, r1 weights, r2 input, r3 product, r4-r7 sums, r12 where the inputs end. The loop is 8
 * taps of 26 bytes, entered in the middle when the taps are no multiple of 8. */
__attribute__((naked)) void ef_swar_single(__attribute__((unused)) const uint8_t *x,
                                           __attribute__((unused)) const uint8_t *w,
                                           __attribute__((unused)) uint32_t taps,
                                           __attribute__((unused)) uint32_t *sums)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_swar_channel at, sum\n"
        "ldrb r3, [r1, #\\at]\n"
        "muls r3, r2, r3\n"
        "adds \\sum, \\sum, r3\n"
        ".endm\n"
        ".macro ef_swar_tap k\n"
        "ldrb r2, [r0, #\\k]\n"
        "ef_swar_channel 4 * \\k, r4\n"
        "ef_swar_channel 4 * \\k + 1, r5\n"
        "ef_swar_channel 4 * \\k + 2, r6\n"
        "ef_swar_channel 4 * \\k + 3, r7\n"
        ".endm\n"
        "push {r3-r7, lr}\n"
        "adds r3, r0, r2\n"
        "mov r12, r3\n"
        /* the taps to leave out of the first round */
        "rsbs r2, r2, #0\n"
        "movs r3, #7\n"
        "ands r2, r3\n"
        "subs r0, r0, r2\n"
        "lsls r3, r2, #2\n"
        "subs r1, r1, r3\n"
        "movs r3, #26\n"
        "muls r3, r2, r3\n"
        "adr r2, 1f\n"
        "adds r2, r2, r3\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "mov pc, r2\n"
        ".balign 4\n"
        "1:\n"
        "ef_swar_tap 0\n"
        "ef_swar_tap 1\n"
        "ef_swar_tap 2\n"
        "ef_swar_tap 3\n"
        "ef_swar_tap 4\n"
        "ef_swar_tap 5\n"
        "ef_swar_tap 6\n"
        "ef_swar_tap 7\n"
        "adds r0, r0, #8\n"
        "adds r1, r1, #32\n"
        "cmp r0, r12\n"
        "bne 1b\n"
        "pop {r3}\n"
        "stm r3!, {r4-r7}\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_swar_channel\n"
        ".purgem ef_swar_tap\n");
}

#else

void ef_swar_single(const uint8_t *x, const uint8_t *w, uint32_t taps, uint32_t *sums)
{
    for (uint32_t c = 0; c < EF_SWAR_CHANNELS; c++) {
        sums[c] = 0;
        for (uint32_t k = 0; k < taps; k++) {
            sums[c] += (uint32_t)x[k] * w[EF_SWAR_CHANNELS * k + c];
        }
    }
}

#endif

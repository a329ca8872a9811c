#include "ef_digits.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 weights, r1 strip, r2-r3 weights of a tap pair, r4-r11 sums, r12 inputs, lr end of the weights.
 * Stack: sums. */
EF_NAKED void ef_digits_dot(EF_UNUSED const uint32_t *weights, EF_UNUSED const uint32_t *strip,
                            EF_UNUSED uint32_t steps, EF_UNUSED int32_t *sums)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_pair\n"
        "ldrd r2, r3, [r0], #8\n"
        "ldr r12, [r1], #4\n"
        "smlad r7, r2, r12, r7\n"
        "smlad r11, r3, r12, r11\n"
        "bic r2, r2, #0xF000F000\n"
        "bic r3, r3, #0xF000F000\n"
        "smlad r6, r2, r12, r6\n"
        "smlad r10, r3, r12, r10\n"
        "bic r2, r2, #0x0F000F00\n"
        "bic r3, r3, #0x0F000F00\n"
        "smlad r5, r2, r12, r5\n"
        "smlad r9, r3, r12, r9\n"
        "bic r2, r2, #0x00F000F0\n"
        "bic r3, r3, #0x00F000F0\n"
        "smlad r4, r2, r12, r4\n"
        "smlad r8, r3, r12, r8\n"
        ".endm\n"
        ".macro ef_digits_separate d0, d1, d2, d3\n"
        "sub \\d3, \\d3, \\d2\n"
        "sub \\d2, \\d2, \\d1\n"
        "sub \\d1, \\d1, \\d0\n"
        "asr \\d3, \\d3, #12\n"
        "asr \\d2, \\d2, #8\n"
        "asr \\d1, \\d1, #4\n"
        ".endm\n"
        "push {r3-r11, lr}\n"
        "add lr, r0, r2, lsl #4\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "mov r8, r4\n"
        "mov r9, r4\n"
        "mov r10, r4\n"
        "mov r11, r4\n"
        "2:\n"
        "ef_digits_pair\n"
        "ef_digits_pair\n"
        "cmp r0, lr\n"
        "bne 2b\n"
        "ef_digits_separate r4, r5, r6, r7\n"
        "ef_digits_separate r8, r9, r10, r11\n"
        "pop {r3}\n"
        "stm r3, {r4-r11}\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_pair\n"
        ".purgem ef_digits_separate\n");
}

#else

void ef_digits_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps, int32_t *sums)
{
    for (uint32_t c = 0; c < EF_DIGITS_CHANNELS; c += 4) {
        int32_t plane[4] = {0, 0, 0, 0}; /* of the digits 0 to c */
        for (uint32_t tap_pair = 0; tap_pair < 2 * steps; tap_pair++) {
            const uint32_t x = strip[tap_pair];
            uint32_t word = weights[2 * tap_pair + c / 4];
            plane[3] = ef_smlad(word, x, plane[3]);
            word &= 0x0FFF0FFFu;
            plane[2] = ef_smlad(word, x, plane[2]);
            word &= 0x00FF00FFu;
            plane[1] = ef_smlad(word, x, plane[1]);
            word &= 0x000F000Fu;
            plane[0] = ef_smlad(word, x, plane[0]);
        }
        sums[c] = plane[0];
        for (uint32_t digit = 1; digit < 4; digit++) {
            const uint32_t difference = (uint32_t)plane[digit] - (uint32_t)plane[digit - 1];
            sums[c + digit] = (int32_t)difference >> (4 * digit);
        }
    }
}

#endif

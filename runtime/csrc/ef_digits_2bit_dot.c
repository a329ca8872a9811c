#include "ef_digits.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 weights, r1 strip, r2-r3 weights of two tap pairs, r4-r11 sums, r12 and lr their inputs.
 * Stack: end of the weights, sums. The loop is 2 steps of 128 bytes, entered in the middle when they
 * are odd. */
EF_NAKED void ef_digits_2bit_dot(EF_UNUSED const uint32_t *weights, EF_UNUSED const uint32_t *strip,
                                 EF_UNUSED uint32_t steps, EF_UNUSED int32_t *sums)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_2bit_plane top, sum\n"
        "bic r2, r2, #\\top\n"
        "bic r3, r3, #\\top\n"
        "smlad \\sum, r2, r12, \\sum\n"
        "smlad \\sum, r3, lr, \\sum\n"
        ".endm\n"
        ".macro ef_digits_2bit_step\n"
        "ldrd r2, r3, [r0], #8\n"
        "ldrd r12, lr, [r1], #8\n"
        "smlad r11, r2, r12, r11\n"
        "smlad r11, r3, lr, r11\n"
        "ef_digits_2bit_plane 0xC000C000, r10\n"
        "ef_digits_2bit_plane 0x30003000, r9\n"
        "ef_digits_2bit_plane 0x0C000C00, r8\n"
        "ef_digits_2bit_plane 0x03000300, r7\n"
        "ef_digits_2bit_plane 0x00C000C0, r6\n"
        "ef_digits_2bit_plane 0x00300030, r5\n"
        "ef_digits_2bit_plane 0x000C000C, r4\n"
        ".endm\n"
        "push {r3-r11, lr}\n"
        "add r3, r0, r2, lsl #3\n"
        "push {r3}\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "mov r8, r4\n"
        "mov r9, r4\n"
        "mov r10, r4\n"
        "mov r11, r4\n"
        "lsls r2, r2, #31\n"
        "bne 3f\n"
        "2:\n"
        "ef_digits_2bit_step\n"
        "3:\n"
        "ef_digits_2bit_step\n"
        "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 2b\n"
        "sub r11, r11, r10\n"
        "sub r10, r10, r9\n"
        "sub r9, r9, r8\n"
        "sub r8, r8, r7\n"
        "sub r7, r7, r6\n"
        "sub r6, r6, r5\n"
        "sub r5, r5, r4\n"
        "asr r11, r11, #14\n"
        "asr r10, r10, #12\n"
        "asr r9, r9, #10\n"
        "asr r8, r8, #8\n"
        "asr r7, r7, #6\n"
        "asr r6, r6, #4\n"
        "asr r5, r5, #2\n"
        "pop {r2, r3}\n"
        "stm r3, {r4-r11}\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_2bit_plane\n"
        ".purgem ef_digits_2bit_step\n");
}

#else

void ef_digits_2bit_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps,
                        int32_t *sums)
{
    int32_t plane[EF_DIGITS_CHANNELS] = {0, 0, 0, 0, 0, 0, 0, 0}; /* of the digits 0 to c */
    for (uint32_t tap_pair = 0; tap_pair < 2 * steps; tap_pair++) {
        uint32_t word = weights[tap_pair];
        uint32_t kept = 0x3FFF3FFFu;
        for (uint32_t c = EF_DIGITS_CHANNELS; c-- != 0;) {
            plane[c] = ef_smlad(word, strip[tap_pair], plane[c]);
            word &= kept;
            kept = (kept & 0xFFFCFFFCu) >> 2;
        }
    }
    sums[0] = plane[0];
    for (uint32_t c = 1; c < EF_DIGITS_CHANNELS; c++) {
        sums[c] = (int32_t)((uint32_t)plane[c] - (uint32_t)plane[c - 1]) >> (2 * c);
    }
}

#endif

#include "ef_digits_2bit.h"

#if EF_HAS_DSP

typedef char ef_digits_2bit_steps_are_known[EF_DIGITS_2BIT_DOT_STEPS == 6 ? 1 : -1];

/* r0 weights, r1 strip, r2-r3 digits, r4-r7 sums of two channels each, r8 mask, r9 two digits in each
 * half, r10-r11 inputs, r12 end of the weights, lr where the turns after the first are entered.
 * Stack: sums with b, sums. The loop is 6 steps of 72 bytes. */
EF_NAKED const uint32_t *ef_digits_2bit_dot(EF_UNUSED const uint32_t *weights,
                                            EF_UNUSED const uint32_t *strip,
                                            EF_UNUSED int32_t *sums,
                                            EF_UNUSED uint32_t turns)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_2bit_step\n"
        "ldrd r2, r3, [r0], #8\n"
        "ldrd r10, r11, [r1], #8\n"
        "and r9, r8, r2\n"
        "smlad r4, r9, r10, r4\n"
        "and r9, r8, r2, ror #4\n"
        "smlad r4, r9, r11, r4\n"
        "and r9, r8, r2, ror #8\n"
        "smlad r5, r9, r10, r5\n"
        "and r9, r8, r2, ror #12\n"
        "smlad r5, r9, r11, r5\n"
        "and r9, r8, r3\n"
        "smlad r6, r9, r10, r6\n"
        "and r9, r8, r3, ror #4\n"
        "smlad r6, r9, r11, r6\n"
        "and r9, r8, r3, ror #8\n"
        "smlad r7, r9, r10, r7\n"
        "and r9, r8, r3, ror #12\n"
        "smlad r7, r9, r11, r7\n"
        ".endm\n"
        ".macro ef_digits_2bit_flush both, b\n"
        "sbfx r9, \\both, #0, #14\n"
        "add \\b, \\b, r9\n"
        "sub \\both, \\both, r9\n"
        ".endm\n"
        "push {r2, r4-r11, lr}\n"
        "sub sp, sp, #16\n"
        "uxth r4, r3\n"
        "add r12, r0, r4, lsl #3\n"
        "lsr r4, r3, #24\n"
        "ubfx r5, r3, #16, #8\n"
        "rsb r4, r4, #6\n"
        "rsb r5, r5, #6\n"
        "movs r6, #72\n"
        "adr r7, 2f\n"
        "mla r3, r4, r6, r7\n"
        "mla lr, r5, r6, r7\n"
        "add r3, r3, #1\n"
        "add lr, lr, #1\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "strd r4, r5, [sp]\n"
        "strd r4, r5, [sp, #8]\n"
        "movw r8, #0xC003\n"
        "movt r8, #0xC003\n"
        "bx r3\n"
        ".balign 4\n"
        "2:\n"
        ".rept 6\n"
        "ef_digits_2bit_step\n"
        ".endr\n"
        "ldm sp, {r2, r3, r10, r11}\n"
        "ef_digits_2bit_flush r4, r2\n"
        "ef_digits_2bit_flush r5, r3\n"
        "ef_digits_2bit_flush r6, r10\n"
        "ef_digits_2bit_flush r7, r11\n"
        "cmp r0, r12\n"
        "beq 3f\n"
        "stm sp, {r2, r3, r10, r11}\n"
        "bx lr\n"
        "3:\n"
        "ldr r1, [sp, #16]\n"
        "ldrd r8, r9, [r1]\n"
        "add r8, r8, r4, asr #14\n"
        "add r9, r9, r2\n"
        "strd r8, r9, [r1]\n"
        "ldrd r8, r9, [r1, #8]\n"
        "add r8, r8, r5, asr #14\n"
        "add r9, r9, r3\n"
        "strd r8, r9, [r1, #8]\n"
        "ldrd r8, r9, [r1, #16]\n"
        "add r8, r8, r6, asr #14\n"
        "add r9, r9, r10\n"
        "strd r8, r9, [r1, #16]\n"
        "ldrd r8, r9, [r1, #24]\n"
        "add r8, r8, r7, asr #14\n"
        "add r9, r9, r11\n"
        "strd r8, r9, [r1, #24]\n"
        "add sp, sp, #20\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_2bit_step\n"
        ".purgem ef_digits_2bit_flush\n");
}

#else

const uint32_t *ef_digits_2bit_dot(const uint32_t *weights, const uint32_t *strip, int32_t *sums,
                                   uint32_t turns)
{
    const uint32_t steps = turns & 0xFFFFu;
    int32_t both[EF_DIGITS_CHANNELS / 2] = {0, 0, 0, 0};
    uint32_t turn = turns >> 24;
    for (uint32_t step = 0; step < steps; step++, strip += 2, weights += 2) {
        for (uint32_t i = 0; i < 8; i++) {
            const uint32_t word = ef_digits_2bit_word(weights[i / 4], i / 2 % 2, i % 2);
            both[i / 2] = ef_smlad(word, strip[i % 2], both[i / 2]);
        }
        if (--turn == 0) {
            for (uint32_t i = 0; i < EF_DIGITS_CHANNELS / 2; i++) {
                ef_digits_2bit_flush(&both[i], &sums[2 * i + 1]);
            }
            turn = turns >> 16 & 0xFFu;
        }
    }
    for (uint32_t i = 0; i < EF_DIGITS_CHANNELS / 2; i++) {
        sums[2 * i] += both[i] >> 14;
    }
    return weights;
}

#endif

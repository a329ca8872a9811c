#include "ef_o8.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 strip, r1 weights, r2-r5 sums, r6-r9 weights, r10-r11 inputs, r12 end of the weights.
 * Stack: 0 block, 12 out. The loop is 4 steps of 56 bytes, entered as in ef_o8_pairs. */
EF_NAKED void ef_o8_single(EF_UNUSED const ef_o8_block *block, EF_UNUSED const uint32_t *weights,
                           EF_UNUSED const uint32_t *strip, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_o8_single_step\n"
        "ldm.w r1!, {r6-r9}\n"
        "ldrd r10, r11, [r0], #8\n"
        "smlad r2, r6, r10, r2\n"
        "smlad r4, r7, r10, r4\n"
        "smlad r2, r8, r11, r2\n"
        "smlad r4, r9, r11, r4\n"
        "sxtb16 r6, r6\n"
        "sxtb16 r7, r7\n"
        "sxtb16 r8, r8\n"
        "sxtb16 r9, r9\n"
        "smlad r3, r6, r10, r3\n"
        "smlad r5, r7, r10, r5\n"
        "smlad r3, r8, r11, r3\n"
        "smlad r5, r9, r11, r5\n"
        ".endm\n"
        ".macro ef_o8_single_requantize x\n"
        "ldm r1!, {r10, r11, r12}\n"
        "smmlar lr, \\x, r10, r11\n"
        "add \\x, lr, \\x, asr #31\n"
        "asr \\x, \\x, r12\n"
        "ssat \\x, #8, \\x\n"
        ".endm\n"
        "push {r0, r3-r11, lr}\n"
        "ldr r4, [r0, #68]\n"
        "add r12, r1, r4, lsl #4\n"
        "rsb r4, r4, #0\n"
        "and r4, r4, #3\n"
        "rsb r4, r4, r4, lsl #3\n"
        "adr r5, 2f\n"
        "add r6, r5, r4, lsl #3\n"
        "add r6, r6, #1\n"
        "mov lr, r2\n"
        "ldm r0, {r2-r5}\n"
        "mov r0, lr\n"
        "bx r6\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ef_o8_single_step\n"
        ".endr\n"
        "cmp r1, r12\n"
        "bne 2b\n"
        "pop {r1, r6}\n"
        "sub r2, r2, r3\n"
        "asr r2, r2, #7\n"
        "lsl r3, r3, #1\n"
        "sub r4, r4, r5\n"
        "asr r4, r4, #7\n"
        "lsl r5, r5, #1\n"
        "add r1, r1, #16\n"
        "ef_o8_single_requantize r2\n"
        "ef_o8_single_requantize r3\n"
        "ef_o8_single_requantize r4\n"
        "ef_o8_single_requantize r5\n"
        "strb r2, [r6]\n"
        "strb r3, [r6, #1]\n"
        "strb r4, [r6, #2]\n"
        "strb r5, [r6, #3]\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_o8_single_step\n"
        ".purgem ef_o8_single_requantize\n");
}

#else

void ef_o8_single(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                  int8_t *out)
{
    int32_t sum[EF_O8_CHANNELS];
    memcpy(sum, block->start, sizeof sum);
    for (uint32_t tap_pair = 0; tap_pair < 2 * block->steps; tap_pair++) {
        for (uint32_t c = 0; c < EF_O8_CHANNELS; c += 2) {
            const uint32_t both = ef_load_word(weights++);
            sum[c] = ef_smlad(both, strip[tap_pair], sum[c]);
            sum[c + 1] = ef_smlad(ef_sxtb16(both), strip[tap_pair], sum[c + 1]);
        }
    }
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
        /* doubled; an even channel still carries its neighbour */
        const uint32_t mixed = (uint32_t)sum[c];
        const int32_t doubled = c % 2 == 0 ? (int32_t)(mixed - (uint32_t)sum[c + 1]) >> 7
                                           : (int32_t)(2 * mixed);
        out[c] = (int8_t)ef_requantize_doubled(doubled, block->channel[c].multiplier,
                                               block->channel[c].offset, block->channel[c].shift);
    }
}

#endif

#include "ef_o8.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 strip, r1 codes, r2-r5 sums, r6-r9 codes and weights, r10-r11 inputs, r12 end of the codes,
 * lr table. Stack: 0 block, 4 out. The loop is 4 steps of 100 bytes, entered in the middle when
 * the steps are no multiple of 4. */
EF_NAKED void ef_pairs_single(EF_UNUSED const ef_o8_block *block, EF_UNUSED const uint8_t *codes,
                              EF_UNUSED const uint32_t *lut_and_strip, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_pairs_single_taps x\n"
        "ldrb r6, [r1], #1\n"
        "ldrb r7, [r1], #1\n"
        "ldrb r8, [r1], #1\n"
        "ldrb r9, [r1], #1\n"
        "ldr.w r6, [lr, r6, lsl #2]\n"
        "ldr.w r7, [lr, r7, lsl #2]\n"
        "ldr.w r8, [lr, r8, lsl #2]\n"
        "ldr.w r9, [lr, r9, lsl #2]\n"
        "smlad r2, r6, \\x, r2\n"
        "smlad r3, r7, \\x, r3\n"
        "smlad r4, r8, \\x, r4\n"
        "smlad r5, r9, \\x, r5\n"
        ".endm\n"
        ".macro ef_pairs_single_requantize x\n"
        "ldm r1!, {r10, r11, r12}\n"
        "smmulr \\x, \\x, r10\n"
        "add \\x, \\x, \\x, asr #31\n"
        "add \\x, \\x, r11\n"
        "asr \\x, \\x, r12\n"
        "ssat \\x, #8, \\x\n"
        ".endm\n"
        "push {r0, r3-r11, lr}\n"
        "ldr r4, [r0, #68]\n"
        "add r12, r1, r4, lsl #3\n"
        "rsb r4, r4, #0\n"
        "and r4, r4, #3\n"
        "movs r5, #100\n"
        "mul r4, r4, r5\n"
        "adr r5, 2f\n"
        "add r6, r5, r4\n"
        "add r6, r6, #1\n"
        "mov lr, r2\n"
        "ldm r0, {r2-r5}\n"
        "add r0, lr, #1024\n"
        "bx r6\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ldrd r10, r11, [r0], #8\n"
        "ef_pairs_single_taps r10\n"
        "ef_pairs_single_taps r11\n"
        ".endr\n"
        "cmp r1, r12\n"
        "bne 2b\n"
        "pop {r1, r6}\n"
        "add r1, r1, #16\n"
        "ef_pairs_single_requantize r2\n"
        "ef_pairs_single_requantize r3\n"
        "ef_pairs_single_requantize r4\n"
        "ef_pairs_single_requantize r5\n"
        "strb r2, [r6]\n"
        "strb r3, [r6, #1]\n"
        "strb r4, [r6, #2]\n"
        "strb r5, [r6, #3]\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_pairs_single_taps\n"
        ".purgem ef_pairs_single_requantize\n");
}

#else

void ef_pairs_single(const ef_o8_block *block, const uint8_t *codes, const uint32_t *lut_and_strip,
                     int8_t *out)
{
    const uint32_t *x = lut_and_strip + EF_PAIRS_4BIT_LUT_BYTES / 4;
    int32_t sum[EF_O8_CHANNELS];
    memcpy(sum, block->start, sizeof sum);
    for (uint32_t tap_pair = 0; tap_pair < 2 * block->steps; tap_pair++) {
        for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
            sum[c] = ef_smlad(lut_and_strip[*codes++], x[tap_pair], sum[c]);
        }
    }
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
        out[c] = (int8_t)ef_requantize_doubled(sum[c], block->channel[c].multiplier,
                                               block->channel[c].offset, block->channel[c].shift);
    }
}

#endif

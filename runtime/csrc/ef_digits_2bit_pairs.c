#include "ef_digits_2bit.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_digits_layout_is_known[offsetof(ef_o8_block, channel) == 16 &&
                                               offsetof(ef_o8_block, pair_pitch) == 64 &&
                                               offsetof(ef_o8_block, steps) == 68 &&
                                               offsetof(ef_o8_block, rows) == 76 &&
                                               offsetof(ef_o8_block, strip_step) == 84 &&
                                               offsetof(ef_o8_block, second_pitch) == 88 &&
                                               offsetof(ef_o8_block, offsets) == 96 &&
                                               offsetof(ef_o8_block, interval) == 100 &&
                                               offsetof(ef_o8_block, first_turn) == 104 &&
                                               offsetof(ef_o8_block, segment) == 108 &&
                                               EF_DIGITS_2BIT_PAIR_STEPS == 8
                                           ? 1
                                           : -1];

/* r0 strip, r1 weights, r2 and r3 sums of channels 0 and 1 for the two pixels, r4 and r5 those of 2
 * and 3, r6 digits, r7 two of them in each half, r8 mask, r9-r12 inputs, lr end of the row's weights.
 * Stack: 0 sums with b, 16 block, 20 weights, 24 out, 28 pairs left, 32 where the first turn of a
 * row is entered, 36 where the others are, 40 offsets, 44 rows left, 48 bytes of a row's weights,
 * 52 row gap, 56 and 60 strip, 64 where it goes on after a row. The loop is 8 steps of 56 bytes.
 * A row that is too long for sums with a is cut into segments: then 32 and 64 are others, 48 is the
 * first segment, and there are 68 the end of the weights, 72 sums with a, 88 what was 32, 92 bytes of
 * the other segments. */
EF_NAKED void ef_digits_2bit_pairs(EF_UNUSED const ef_o8_block *block,
                                   EF_UNUSED const uint32_t *weights,
                                   EF_UNUSED const uint32_t *strip, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_2bit_taps\n"
        "ldr r6, [r1], #4\n"
        "ldm r0!, {r9-r12}\n"
        "and r7, r8, r6\n"
        "smlad r2, r7, r9, r2\n"
        "smlad r3, r7, r10, r3\n"
        "and r7, r8, r6, ror #4\n"
        "smlad r2, r7, r11, r2\n"
        "smlad r3, r7, r12, r3\n"
        "and r7, r8, r6, ror #8\n"
        "smlad r4, r7, r9, r4\n"
        "smlad r5, r7, r10, r5\n"
        "and r7, r8, r6, ror #12\n"
        "smlad r4, r7, r11, r4\n"
        "smlad r5, r7, r12, r5\n"
        ".endm\n"
        ".macro ef_digits_2bit_flush both, b\n"
        "sbfx r7, \\both, #0, #14\n"
        "add \\b, \\b, r7\n"
        "sub \\both, \\both, r7\n"
        ".endm\n"
        ".macro ef_digits_2bit_requantize x, y\n"
        "ldm r1!, {r6, r7, r8}\n"
        "smmlar r0, \\x, r6, r7\n"
        "smmlar lr, \\y, r6, r7\n"
        "add \\x, r0, \\x, asr #31\n"
        "add \\y, lr, \\y, asr #31\n"
        "asr \\x, \\x, r8\n"
        "asr \\y, \\y, r8\n"
        "ssat \\x, #8, \\x\n"
        "ssat \\y, #8, \\y\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #100\n"
        "strd r0, r1, [sp, #16]\n"
        "str r3, [sp, #24]\n"
        "str r2, [sp, #56]\n"
        "ldrd r6, r7, [r0, #76]\n"
        "ldrd r4, r5, [r0, #68]\n"
        "str r5, [sp, #28]\n"
        "ldr r5, [r0, #96]\n"
        "strd r5, r6, [sp, #40]\n"
        "lsl r5, r4, #2\n"
        "strd r5, r7, [sp, #48]\n"
        "ldrd r8, r4, [r0, #100]\n"
        "rsb r4, r4, #8\n"
        "rsb r5, r8, #8\n"
        "movs r6, #56\n"
        "adr r7, 2f\n"
        "mla r4, r4, r6, r7\n"
        "mla r5, r5, r6, r7\n"
        "add r4, r4, #1\n"
        "add r5, r5, #1\n"
        "strd r4, r5, [sp, #32]\n"
        "adr r5, 4f\n"
        "add r5, r5, #1\n"
        "ldrd r6, r8, [r0, #108]\n"
        "cbz r6, 0f\n"
        "strd r4, r6, [sp, #88]\n"
        "ldr r4, [sp, #48]\n"
        "add r4, r4, r1\n"
        "str r4, [sp, #68]\n"
        "str r8, [sp, #48]\n"
        "adr r4, 6f\n"
        "add r4, r4, #1\n"
        "adr r5, 7f\n"
        "add r5, r5, #1\n"
        "str r4, [sp, #32]\n"
        "movs r8, #0\n"        /* rows are never done */
        "str r8, [sp, #44]\n"
        "0:\n"
        "str r5, [sp, #64]\n"
        "mov r0, r2\n"
        "1:\n"
        "ldr r1, [sp, #20]\n"
        "ldr lr, [sp, #48]\n"
        "movs r2, #0\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "strd r2, r3, [sp]\n"
        "strd r2, r3, [sp, #8]\n"
        "movw r8, #0xC003\n"
        "movt r8, #0xC003\n"
        "add lr, lr, r1\n"
        "ldr pc, [sp, #32]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 8\n"
        "ef_digits_2bit_taps\n"
        ".endr\n"
        "ldm sp, {r9-r12}\n"
        "ef_digits_2bit_flush r2, r9\n"
        "ef_digits_2bit_flush r3, r10\n"
        "ef_digits_2bit_flush r4, r11\n"
        "ef_digits_2bit_flush r5, r12\n"
        "cmp r1, lr\n"
        "beq 3f\n"
        "stm sp, {r9-r12}\n"
        "ldr pc, [sp, #36]\n"
        "3:\n"
        "ldr r6, [sp, #44]\n"
        "subs r6, r6, #1\n"
        "it ne\n"
        "ldrne pc, [sp, #64]\n"
        "asr r2, r2, #14\n"
        "asr r3, r3, #14\n"
        "asr r4, r4, #14\n"
        "asr r5, r5, #14\n"
        "8:\n"
        "str r0, [sp, #60]\n"
        "ldr r1, [sp, #16]\n"
        "ldr r6, [sp, #40]\n"
        "ldr r0, [r1, #92]\n"
        "ldrd r7, r8, [r6], #8\n" /* of b, then of a */
        "mla r9, r9, r0, r7\n"
        "mla r10, r10, r0, r8\n"
        "mla r11, r11, r0, r7\n"
        "mla r12, r12, r0, r8\n"
        "ldrd r7, r8, [r6], #8\n"
        "mla r2, r2, r0, r7\n"
        "mla r3, r3, r0, r8\n"
        "mla r4, r4, r0, r7\n"
        "mla r5, r5, r0, r8\n"
        "str r6, [sp, #40]\n"
        "ldm r1!, {r0, r6, r7, r8}\n"
        "add r2, r2, r0\n"
        "add r3, r3, r0\n"
        "add r9, r9, r6\n"
        "add r10, r10, r6\n"
        "add r4, r4, r7\n"
        "add r5, r5, r7\n"
        "add r11, r11, r8\n"
        "add r12, r12, r8\n"
        "ef_digits_2bit_requantize r2, r3\n"
        "ef_digits_2bit_requantize r9, r10\n"
        "ef_digits_2bit_requantize r4, r5\n"
        "ef_digits_2bit_requantize r11, r12\n"
        "ldr r8, [sp, #24]\n"
        "ldr r6, [r1, #24]\n"
        "ldr r7, [r1]\n"
        "ldr r0, [sp, #60]\n"
        "strb r2, [r8]\n"
        "strb r9, [r8, #1]\n"
        "strb r4, [r8, #2]\n"
        "strb r11, [r8, #3]\n"
        "add r6, r6, r8\n"
        "strb r3, [r6]\n"
        "strb r10, [r6, #1]\n"
        "strb r5, [r6, #2]\n"
        "strb r12, [r6, #3]\n"
        "add r8, r8, r7\n"
        "ldr r7, [sp, #28]\n"
        "ldr r6, [r1, #20]\n"
        "subs r7, r7, #1\n"
        "str r8, [sp, #24]\n"
        "str r7, [sp, #28]\n"
        "beq 5f\n"
        "cmp r6, #0\n"
        "beq 1b\n"
        /* back to the first row, one pair on */
        "ldr r7, [r1, #12]\n"
        "str r7, [sp, #44]\n"
        "ldr r0, [sp, #56]\n"
        "add r0, r0, r6\n"
        "str r0, [sp, #56]\n"
        "b 1b\n"
        /* the next row */
        "4:\n"
        "str r6, [sp, #44]\n"
        "stm sp, {r9-r12}\n"
        "ldrd r6, r7, [sp, #48]\n"
        "add lr, lr, r6\n"
        "add r0, r0, r7\n"
        "ldr pc, [sp, #32]\n"
        /* in segments: the first one, then the end of each */
        "6:\n"
        "strd r2, r3, [sp, #72]\n"
        "strd r4, r5, [sp, #80]\n"
        "ldr pc, [sp, #88]\n"
        "7:\n"
        "ldrd r6, r7, [sp, #72]\n"
        "add r2, r6, r2, asr #14\n"
        "add r3, r7, r3, asr #14\n"
        "ldrd r6, r7, [sp, #80]\n"
        "add r4, r6, r4, asr #14\n"
        "add r5, r7, r5, asr #14\n"
        "ldr r6, [sp, #68]\n"
        "cmp r1, r6\n"
        "beq 8b\n"
        "strd r2, r3, [sp, #72]\n"
        "strd r4, r5, [sp, #80]\n"
        "stm sp, {r9-r12}\n"
        "movs r2, #0\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "ldr r6, [sp, #92]\n"
        "add lr, lr, r6\n"
        "ldr pc, [sp, #36]\n"
        "5:\n"
        "add sp, sp, #100\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_2bit_taps\n"
        ".purgem ef_digits_2bit_flush\n"
        ".purgem ef_digits_2bit_requantize\n");
}

#else

void ef_digits_2bit_pairs(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                          int8_t *out)
{
    const uint32_t *x = strip;
    for (uint32_t pair = 0; pair < block->pairs; pair++, out += block->pair_pitch) {
        const int32_t *offset = block->offsets + 4 * (size_t)pair;
        const uint32_t *w = weights;
        int32_t both[2][2] = {{0, 0}, {0, 0}}; /* [channels 0 and 1, 2 and 3][pixel] */
        int32_t sums[2][2][2] = {{{0, 0}, {0, 0}}, {{0, 0}, {0, 0}}}; /* the same, [a and b] */
        uint32_t segment = (block->segment != 0 ? block->first_segment : 4 * block->steps) / 4;
        if (block->strip_step != 0) {
            x = strip + (int32_t)pair * (block->strip_step / 4);
        }
        for (uint32_t row = 0; row < block->rows; row++) {
            uint32_t turn = block->first_turn;
            x += row == 0 ? 0 : block->row_gap / 4;
            for (uint32_t step = 0; step < block->steps; step++, x += 4, w++) {
                for (uint32_t i = 0; i < 8; i++) {
                    const uint32_t word = ef_digits_2bit_word(*w, i / 4, i / 2 % 2);
                    both[i / 4][i % 2] = ef_smlad(word, x[i % 4], both[i / 4][i % 2]);
                }
                if (--turn == 0) {
                    for (uint32_t i = 0; i < 4; i++) {
                        ef_digits_2bit_flush(&both[i / 2][i % 2], &sums[i / 2][i % 2][1]);
                    }
                    turn = block->interval;
                }
                if (--segment == 0 && block->segment != 0) {
                    for (uint32_t i = 0; i < 4; i++) {
                        sums[i / 2][i % 2][0] += both[i / 2][i % 2] >> 14;
                        both[i / 2][i % 2] = 0;
                    }
                    segment = block->segment / 4;
                }
            }
        }
        for (uint32_t i = 0; i < 4; i++) {
            sums[i / 2][i % 2][0] += both[i / 2][i % 2] >> 14;
        }
        for (uint32_t pixel = 0; pixel < 2; pixel++) {
            int8_t *target = pixel == 0 ? out : out + block->second_pitch;
            for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
                const int32_t sum = sums[c / 2][pixel][c % 2];
                const uint32_t doubled = (uint32_t)(sum * block->scale) +
                                         (uint32_t)offset[c % 2 == 0 ? 2 + pixel : pixel] +
                                         (uint32_t)block->start[c];
                target[c] = (int8_t)ef_requantize_doubled(
                    (int32_t)doubled, block->channel[c].multiplier, block->channel[c].offset,
                    block->channel[c].shift);
            }
        }
    }
}

#endif

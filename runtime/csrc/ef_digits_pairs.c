#include "ef_digits.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_digits_layout_is_known[offsetof(ef_o8_block, channel) == 16 &&
                                               offsetof(ef_o8_block, pair_pitch) == 64 &&
                                               offsetof(ef_o8_block, steps) == 68 &&
                                               offsetof(ef_o8_block, rows) == 76 &&
                                               offsetof(ef_o8_block, strip_step) == 84 &&
                                               offsetof(ef_o8_block, second_pitch) == 88 &&
                                               offsetof(ef_o8_block, offsets) == 96
                                           ? 1
                                           : -1];

/* r0 strip, r1 weights, r2-r5 sums of the first pixel, r6-r9 of the second, r10 weights, r11 end of
 * the row's weights, r12 and lr inputs. Stack: 0 block, 4 weights, 8 out, 12 pairs left, 16 where
 * the loop is entered, 20 offsets, 24 rows left, 28 bytes of a row's weights, 32 row gap, 36 strip.
 * The loop is 4 steps of 104 bytes, entered in the middle when the steps are no multiple of 4. */
EF_NAKED void ef_digits_pairs(EF_UNUSED const ef_o8_block *block, EF_UNUSED const uint32_t *weights,
                              EF_UNUSED const uint32_t *strip, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_pairs_taps\n"
        "ldr r10, [r1], #4\n"
        "ldrd r12, lr, [r0], #8\n"
        "smlad r5, r10, r12, r5\n"
        "smlad r9, r10, lr, r9\n"
        "bic r10, r10, #0xF000F000\n"
        "smlad r4, r10, r12, r4\n"
        "smlad r8, r10, lr, r8\n"
        "bic r10, r10, #0x0F000F00\n"
        "smlad r3, r10, r12, r3\n"
        "smlad r7, r10, lr, r7\n"
        "bic r10, r10, #0x00F000F0\n"
        "smlad r2, r10, r12, r2\n"
        "smlad r6, r10, lr, r6\n"
        ".endm\n"
        ".macro ef_digits_pairs_separate d0, d1, d2, d3\n"
        "sub \\d3, \\d3, \\d2\n"
        "sub \\d2, \\d2, \\d1\n"
        "sub \\d1, \\d1, \\d0\n"
        "asr \\d3, \\d3, #12\n"
        "asr \\d2, \\d2, #8\n"
        "asr \\d1, \\d1, #4\n"
        ".endm\n"
        ".macro ef_digits_pairs_requantize x, y\n"
        "ldm r1!, {r10, r11, r12}\n"
        "smmlar lr, \\x, r10, r11\n"
        "add \\x, lr, \\x, asr #31\n"
        "smmlar lr, \\y, r10, r11\n"
        "add \\y, lr, \\y, asr #31\n"
        "asr \\x, \\x, r12\n"
        "asr \\y, \\y, r12\n"
        "ssat \\x, #8, \\x\n"
        "ssat \\y, #8, \\y\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #44\n"
        "strd r0, r1, [sp]\n"
        "str r3, [sp, #8]\n"
        "str r2, [sp, #36]\n"
        "ldrd r6, r7, [r0, #76]\n"
        "ldrd r4, r5, [r0, #68]\n"
        "str r5, [sp, #12]\n"
        "ldr r5, [r0, #96]\n"
        "strd r5, r6, [sp, #20]\n"
        "lsl r5, r4, #3\n"
        "strd r5, r7, [sp, #28]\n"
        "rsb r4, r4, #0\n"
        "and r4, r4, #3\n"
        "movs r5, #104\n"
        "mul r4, r4, r5\n"
        "adr r5, 2f\n"
        "add r4, r4, r5\n"
        "add r4, r4, #1\n"
        "str r4, [sp, #16]\n"
        "mov r0, r2\n"
        "1:\n"
        "ldr r1, [sp, #4]\n"
        "ldr r11, [sp, #28]\n"
        "mov r2, #0\n"
        "mov r3, r2\n"
        "mov r4, r2\n"
        "mov r5, r2\n"
        "mov r6, r2\n"
        "mov r7, r2\n"
        "mov r8, r2\n"
        "mov r9, r2\n"
        "add r11, r11, r1\n"
        "ldr pc, [sp, #16]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 8\n"
        "ef_digits_pairs_taps\n"
        ".endr\n"
        "cmp r1, r11\n"
        "bne 2b\n"
        "ldr r10, [sp, #24]\n"
        "subs r10, r10, #1\n"
        "bne 3f\n"
        "ldr r1, [sp]\n"
        "ldr r12, [sp, #20]\n"
        "ef_digits_pairs_separate r2, r3, r4, r5\n"
        "ef_digits_pairs_separate r6, r7, r8, r9\n"
        "str r0, [sp, #40]\n"
        "ldr r0, [r1, #92]\n"
        "ldrd r10, r11, [r12], #8\n" /* of three digits, then of the top one */
        "mla r2, r2, r0, r10\n"
        "mla r3, r3, r0, r10\n"
        "mla r4, r4, r0, r10\n"
        "mla r6, r6, r0, r11\n"
        "mla r7, r7, r0, r11\n"
        "mla r8, r8, r0, r11\n"
        "ldrd r10, r11, [r12], #8\n"
        "mla r5, r5, r0, r10\n"
        "mla r9, r9, r0, r11\n"
        "str r12, [sp, #20]\n"
        "ldm r1!, {r0, r10, r11, r12}\n"
        "add r2, r2, r0\n"
        "add r6, r6, r0\n"
        "add r3, r3, r10\n"
        "add r7, r7, r10\n"
        "add r4, r4, r11\n"
        "add r8, r8, r11\n"
        "add r5, r5, r12\n"
        "add r9, r9, r12\n"
        "ef_digits_pairs_requantize r2, r6\n"
        "ef_digits_pairs_requantize r3, r7\n"
        "ef_digits_pairs_requantize r4, r8\n"
        "ef_digits_pairs_requantize r5, r9\n"
        "ldr r0, [sp, #40]\n"
        "ldr r10, [r1, #24]\n"
        "ldr r11, [r1]\n"
        "ldr lr, [sp, #8]\n"
        "strb r2, [lr]\n"
        "strb r3, [lr, #1]\n"
        "strb r4, [lr, #2]\n"
        "strb r5, [lr, #3]\n"
        "add r10, r10, lr\n"
        "strb r6, [r10]\n"
        "strb r7, [r10, #1]\n"
        "strb r8, [r10, #2]\n"
        "strb r9, [r10, #3]\n"
        "add lr, lr, r11\n"
        "ldr r11, [sp, #12]\n"
        "ldr r10, [r1, #20]\n"
        "subs r11, r11, #1\n"
        "strd lr, r11, [sp, #8]\n"
        "beq 4f\n"
        "cmp r10, #0\n"
        "beq 1b\n"
        /* back to the first row, one pair on */
        "ldr r11, [r1, #12]\n"
        "str r11, [sp, #24]\n"
        "ldr r0, [sp, #36]\n"
        "add r0, r0, r10\n"
        "str r0, [sp, #36]\n"
        "b 1b\n"
        /* the next row */
        "3:\n"
        "str r10, [sp, #24]\n"
        "ldrd r10, lr, [sp, #28]\n"
        "add r11, r11, r10\n"
        "add r0, r0, lr\n"
        "ldr pc, [sp, #16]\n"
        "4:\n"
        "add sp, sp, #44\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_pairs_taps\n"
        ".purgem ef_digits_pairs_separate\n"
        ".purgem ef_digits_pairs_requantize\n");
}

#else

void ef_digits_pairs(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                     int8_t *out)
{
    static const uint32_t kept[EF_O8_CHANNELS] = {0x000F000Fu, 0x00FF00FFu, 0x0FFF0FFFu, 0xFFFFFFFFu};
    const uint32_t *x = strip;
    for (uint32_t pair = 0; pair < block->pairs; pair++, out += block->pair_pitch) {
        const int32_t *offset = block->offsets + 4 * (size_t)pair;
        const uint32_t *w = weights;
        int32_t plane[2][EF_O8_CHANNELS] = {{0, 0, 0, 0}, {0, 0, 0, 0}}; /* of the digits 0 to c */
        if (block->strip_step != 0) {
            x = strip + (int32_t)pair * (block->strip_step / 4);
        }
        for (uint32_t row = 0; row < block->rows; row++) {
            x += row == 0 ? 0 : block->row_gap / 4;
            for (uint32_t tap_pair = 0; tap_pair < 2 * block->steps; tap_pair++) {
                const uint32_t word = *w++;
                for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
                    plane[0][c] = ef_smlad(word & kept[c], x[0], plane[0][c]);
                    plane[1][c] = ef_smlad(word & kept[c], x[1], plane[1][c]);
                }
                x += 2;
            }
        }
        for (uint32_t pixel = 0; pixel < 2; pixel++) {
            int8_t *target = pixel == 0 ? out : out + block->second_pitch;
            for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
                const uint32_t below = c == 0 ? 0 : (uint32_t)plane[pixel][c - 1];
                const int32_t sum = (int32_t)((uint32_t)plane[pixel][c] - below) >> (4 * c);
                const uint32_t doubled = (uint32_t)(sum * block->scale) +
                                         (uint32_t)offset[c < 3 ? pixel : 2 + pixel] +
                                         (uint32_t)block->start[c];
                target[c] = (int8_t)ef_requantize_doubled(
                    (int32_t)doubled, block->channel[c].multiplier, block->channel[c].offset,
                    block->channel[c].shift);
            }
        }
    }
}

#endif

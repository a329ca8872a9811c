#include "ef_digits.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_digits_layout_is_known[offsetof(ef_o8_block, steps) == 68 &&
                                               offsetof(ef_o8_block, pairs) == 72 &&
                                               offsetof(ef_o8_block, rows) == 76 &&
                                               offsetof(ef_o8_block, row_gap) == 80 &&
                                               offsetof(ef_o8_block, strip_step) == 84
                                           ? 1
                                           : -1];

/* r0 offsets, r1 and r2 what sums are multiplied with, r3 rows left, r4 and r5 sums of the two pixels,
 * r6-r9 inputs, r10 ones, r11 end of a row, r12 inputs, lr pairs left. Stack: 0 bytes of a row, 4 where
 * the loop is entered, 8 rows, 12 row gap, 16 strip step, 20 strip. The loop is 2 steps of 20 bytes. */
EF_NAKED void ef_digits_sums(EF_UNUSED const ef_o8_block *block, EF_UNUSED int32_t base,
                             EF_UNUSED int32_t more, EF_UNUSED const uint32_t *strip,
                             EF_UNUSED int32_t *offsets)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_digits_sums_step\n"
        "ldm r12!, {r6-r9}\n"
        "smlad r4, r6, r10, r4\n"
        "smlad r5, r7, r10, r5\n"
        "smlad r4, r8, r10, r4\n"
        "smlad r5, r9, r10, r5\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #28\n"
        "ldrd r4, lr, [r0, #68]\n"
        "ldrd r6, r7, [r0, #76]\n"
        "ldr r8, [r0, #84]\n"
        "ldr r0, [sp, #64]\n"
        "mov r12, r3\n"
        "lsl r1, r1, #1\n"
        "add r2, r1, r2, lsl #1\n"
        "lsl r9, r4, #4\n"
        "and r4, r4, #1\n"
        "add r4, r4, r4, lsl #2\n"
        "adr r5, 3f\n"
        "add r4, r5, r4, lsl #2\n"
        "add r4, r4, #1\n"
        "strd r9, r4, [sp]\n"
        "strd r6, r7, [sp, #8]\n"
        "strd r8, r3, [sp, #16]\n"
        "mov r10, #0x00010001\n"
        "1:\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "ldr r3, [sp, #8]\n"
        "2:\n"
        "ldr r11, [sp]\n"
        "add r11, r11, r12\n"
        "ldr pc, [sp, #4]\n"
        ".balign 4\n"
        "3:\n"
        "ef_digits_sums_step\n"
        "ef_digits_sums_step\n"
        "cmp r12, r11\n"
        "bne 3b\n"
        "subs r3, r3, #1\n"
        "beq 4f\n"
        "ldr r6, [sp, #12]\n"
        "add r12, r12, r6\n"
        "b 2b\n"
        "4:\n"
        "mul r6, r1, r4\n"
        "mul r7, r1, r5\n"
        "mul r8, r2, r4\n"
        "mul r9, r2, r5\n"
        "stm r0!, {r6-r9}\n"
        "subs lr, lr, #1\n"
        "beq 5f\n"
        "ldrd r6, r7, [sp, #16]\n"
        "cmp r6, #0\n"
        "beq 1b\n"
        /* back to the first row, one pair on */
        "add r12, r7, r6\n"
        "str r12, [sp, #20]\n"
        "b 1b\n"
        "5:\n"
        "add sp, sp, #28\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_digits_sums_step\n");
}

#else

void ef_digits_sums(const ef_o8_block *block, int32_t base, int32_t more, const uint32_t *strip,
                    int32_t *offsets)
{
    const uint32_t low = (uint32_t)(2 * base);
    const uint32_t top = low + (uint32_t)(2 * more);
    const uint32_t *x = strip;
    for (uint32_t pair = 0; pair < block->pairs; pair++) {
        int32_t first = 0;
        int32_t second = 0;
        if (block->strip_step != 0) {
            x = strip + (int32_t)pair * (block->strip_step / 4);
        }
        for (uint32_t row = 0; row < block->rows; row++) {
            x += row == 0 ? 0 : block->row_gap / 4;
            for (const uint32_t *end = x + 4 * (size_t)block->steps; x != end; x += 4) {
                /* In four statements gcc 12 at -O3 loses the latter two. */
                first += ef_smlad(x[2], 0x00010001u, ef_smlad(x[0], 0x00010001u, 0));
                second += ef_smlad(x[3], 0x00010001u, ef_smlad(x[1], 0x00010001u, 0));
            }
        }
        offsets[0] = (int32_t)(low * (uint32_t)first);
        offsets[1] = (int32_t)(low * (uint32_t)second);
        offsets[2] = (int32_t)(top * (uint32_t)first);
        offsets[3] = (int32_t)(top * (uint32_t)second);
        offsets += 4;
    }
}

#endif

#include "ef_pairs.h"
#include "ef_simd.h"
#include "ef_weights.h"

#if EF_HAS_DSP

/* r0 strip, r1 codes, r2-r5 sums, r6-r9 inputs, r10-r11 codes and weights, r12 end of the block's
 * codes, lr table. Stack: 0 where a block begins, 4 where its loop is entered, 8 bytes of its codes,
 * 12 where sums go. 52 blocks left. A block begins with a step if they are odd; then comes the loop
 * of twice 2 steps of 100 bytes, entered in the middle where that makes it come out even. */
EF_NAKED void ef_pairs_dot(EF_UNUSED const uint8_t *codes,
                           EF_UNUSED const uint32_t *table_and_strip, EF_UNUSED uint32_t steps,
                           EF_UNUSED int32_t *sums, EF_UNUSED uint32_t blocks)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_pairs_two_channels x, a, b\n"
        "ldrb r10, [r1], #1\n"
        "ldrb r11, [r1], #1\n"
        "ldr.w r10, [lr, r10, lsl #2]\n"
        "ldr.w r11, [lr, r11, lsl #2]\n"
        "smlad \\a, r10, \\x, \\a\n"
        "smlad \\b, r11, \\x, \\b\n"
        ".endm\n"
        ".macro ef_pairs_taps x\n"
        "ef_pairs_two_channels \\x, r2, r3\n"
        "ef_pairs_two_channels \\x, r4, r5\n"
        ".endm\n"
        ".macro ef_pairs_two_steps\n"
        "ldm.w r0!, {r6-r9}\n"
        "ef_pairs_taps r6\n"
        "ef_pairs_taps r7\n"
        "ef_pairs_taps r8\n"
        "ef_pairs_taps r9\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #16\n"
        "mov lr, r1\n"
        "mov r1, r0\n"
        "lsl r4, r2, #3\n"
        "add r12, r1, r4\n"
        "strd r4, r3, [sp, #8]\n"
        "adr r5, 2f\n"
        "tst r2, #2\n"
        "it ne\n"
        "addne r5, r5, #3f-2f\n"
        "adds r5, r5, #1\n"
        "mov r6, r5\n"
        "lsls r7, r2, #31\n"
        "beq 1f\n"
        "adr r6, 5f\n"
        "adds r6, r6, #1\n"
        "1:\n"
        "strd r6, r5, [sp]\n"
        "6:\n"
        "add r0, lr, #1024\n"
        "mov r2, #0\n"
        "mov r3, r2\n"
        "mov r4, r2\n"
        "mov r5, r2\n"
        "ldr pc, [sp]\n"
        ".balign 4\n"
        "5:\n"
        "ldrd r6, r7, [r0], #8\n"
        "ef_pairs_taps r6\n"
        "ef_pairs_taps r7\n"
        "cmp r1, r12\n"
        "beq 4f\n"
        "ldr pc, [sp, #4]\n"
        ".balign 4\n"
        "2:\n"
        "ef_pairs_two_steps\n"
        "3:\n"
        "ef_pairs_two_steps\n"
        "cmp r1, r12\n"
        "bne 2b\n"
        "4:\n"
        "ldrd r6, r7, [sp, #8]\n"
        "ldr r8, [sp, #52]\n"
        "stm r7!, {r2-r5}\n"
        "add r12, r12, r6\n"
        "str r7, [sp, #12]\n"
        "subs r8, r8, #1\n"
        "str r8, [sp, #52]\n"
        "bne 6b\n"
        "add sp, sp, #16\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_pairs_two_channels\n"
        ".purgem ef_pairs_taps\n"
        ".purgem ef_pairs_two_steps\n");
}

#else

void ef_pairs_dot(const uint8_t *codes, const uint32_t *table_and_strip, uint32_t steps,
                  int32_t *sums, uint32_t blocks)
{
    const uint32_t *strip = table_and_strip + EF_PAIRS_4BIT_LUT_BYTES / 4;
    for (; blocks != 0; blocks--, sums += EF_PAIRS_CHANNELS) {
        memset(sums, 0, EF_PAIRS_CHANNELS * sizeof *sums);
        for (uint32_t tap_pair = 0; tap_pair < 2 * steps; tap_pair++) {
            for (uint32_t c = 0; c < EF_PAIRS_CHANNELS; c++) {
                sums[c] = ef_smlad(table_and_strip[*codes++], strip[tap_pair], sums[c]);
            }
        }
    }
}

#endif

#include "ef_vectors.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 strip, r1 codes, r2-r5 sums, r6-r9 codes and weights, r10-r11 inputs, r12 table, lr table + 4.
 * Stack: 0 strip, 4 where the loop is entered, 8 end of the block's codes, 12 where sums go, 16
 * bytes of a block's codes; 56 blocks left. The loop is 8 steps of 84 bytes, entered in the middle when the steps are
 * no multiple of 8. */
EF_NAKED void ef_vectors_dot(EF_UNUSED const uint8_t *codes,
                             EF_UNUSED const uint32_t *const table_and_strip[2],
                             EF_UNUSED uint32_t steps, EF_UNUSED int32_t *sums,
                             EF_UNUSED uint32_t blocks)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_vectors_two_channels a, b\n"
        "ldr.w r7, [r12, r6, lsl #3]\n"
        "ldr.w r9, [r12, r8, lsl #3]\n"
        "ldr.w r6, [lr, r6, lsl #3]\n"
        "ldr.w r8, [lr, r8, lsl #3]\n"
        "smlad \\a, r7, r10, \\a\n"
        "smlad \\b, r9, r10, \\b\n"
        "smlad \\a, r6, r11, \\a\n"
        "smlad \\b, r8, r11, \\b\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #20\n"
        "ldrd r12, r7, [r1]\n"
        "lsl r4, r2, #2\n"
        "mov r1, r0\n"
        "add r5, r1, r4\n"
        "strd r5, r3, [sp, #8]\n"
        "str r4, [sp, #16]\n"
        "rsb r6, r2, #0\n"
        "and r6, r6, #7\n"
        "movs r5, #84\n"
        "mul r6, r6, r5\n"
        "adr r5, 2f\n"
        "add r6, r6, r5\n"
        "add r6, r6, #1\n"
        "strd r7, r6, [sp]\n"
        "add lr, r12, #4\n"
        "1:\n"
        "ldr r0, [sp]\n"
        "mov r2, #0\n"
        "mov r3, r2\n"
        "mov r4, r2\n"
        "mov r5, r2\n"
        "ldr pc, [sp, #4]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 8\n"
        "ldrb r6, [r1], #1\n"
        "ldrb r8, [r1], #1\n"
        "ldrd r10, r11, [r0], #8\n"
        "ef_vectors_two_channels r2, r3\n"
        "ldrb r6, [r1], #1\n"
        "ldrb r8, [r1], #1\n"
        "ef_vectors_two_channels r4, r5\n"
        ".endr\n"
        "ldr r6, [sp, #8]\n"
        "cmp r1, r6\n"
        "bne 2b\n"
        "ldrd r7, r8, [sp, #12]\n"
        "ldr r9, [sp, #56]\n"
        "stm r7!, {r2-r5}\n"
        "add r6, r6, r8\n"
        "strd r6, r7, [sp, #8]\n"
        "subs r9, r9, #1\n"
        "str r9, [sp, #56]\n"
        "bne 1b\n"
        "add sp, sp, #20\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_vectors_two_channels\n");
}

#else

void ef_vectors_dot(const uint8_t *codes, const uint32_t *const table_and_strip[2], uint32_t steps,
                    int32_t *sums, uint32_t blocks)
{
    const uint32_t *table = table_and_strip[0];
    for (; blocks != 0; blocks--, sums += EF_VECTORS_CHANNELS) {
        const uint32_t *x = table_and_strip[1];
        memset(sums, 0, EF_VECTORS_CHANNELS * sizeof *sums);
        for (const uint32_t *end = x + 2 * (size_t)steps; x != end; x += 2) {
            for (uint32_t c = 0; c < EF_VECTORS_CHANNELS; c++) {
                const uint32_t *vector = table + 2 * (size_t)*codes++;
                sums[c] = ef_smlad(vector[1], x[1], ef_smlad(vector[0], x[0], sums[c]));
            }
        }
    }
}

#endif

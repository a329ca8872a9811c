#include "ef_vectors.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 strip, r1 codes, r2-r5 sums, r6-r9 codes and weights, r10-r11 inputs, r12 table, lr table + 4.
 * Stack: sums, end of the codes. The loop is 8 steps of 84 bytes, entered in the middle when the
 * steps are no multiple of 8. */
EF_NAKED void ef_vectors_dot(EF_UNUSED const uint8_t *codes,
                             EF_UNUSED const uint32_t *const table_and_strip[2],
                             EF_UNUSED uint32_t steps, EF_UNUSED int32_t *sums)
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
        "push {r3-r11, lr}\n"
        "add r4, r0, r2, lsl #2\n"
        "push {r4}\n"
        "ldrd r12, r7, [r1]\n"
        "rsb r6, r2, #0\n"
        "mov r1, r0\n"
        "mov r0, r7\n"
        "add lr, r12, #4\n"
        "movs r2, #0\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "ands r6, r6, #7\n"
        "beq 2f\n"
        "movs r7, #84\n"
        "mul r6, r6, r7\n"
        "adr r7, 2f\n"
        "add r6, r6, r7\n"
        "add r6, r6, #1\n"
        "bx r6\n"
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
        "ldr r6, [sp]\n"
        "cmp r1, r6\n"
        "bne 2b\n"
        "pop {r6, r7}\n"
        "stm r7, {r2-r5}\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_vectors_two_channels\n");
}

#else

void ef_vectors_dot(const uint8_t *codes, const uint32_t *const table_and_strip[2], uint32_t steps,
                    int32_t *sums)
{
    const uint32_t *table = table_and_strip[0];
    const uint32_t *x = table_and_strip[1];
    memset(sums, 0, EF_VECTORS_CHANNELS * sizeof *sums);
    for (; steps != 0; steps--, x += 2) {
        for (uint32_t c = 0; c < EF_VECTORS_CHANNELS; c++) {
            const uint32_t *vector = table + 2 * (size_t)*codes++;
            sums[c] = ef_smlad(vector[1], x[1], ef_smlad(vector[0], x[0], sums[c]));
        }
    }
}

#endif

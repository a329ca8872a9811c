#include "ef_simd.h"
#include "ef_sparse.h"

#if EF_HAS_DSP

/* r0 entries, r1 their end, r2 lut, r3 input before the first tap, r4-r7 words and inputs, r12 sum.
 * A first entry if they are odd, then a loop of 4 pairs of 40 bytes, entered in the middle when the
 * pairs are no multiple of 4. */
EF_NAKED int32_t ef_sparse_dot(EF_UNUSED const uint8_t *entry, EF_UNUSED const uint8_t *end,
                               EF_UNUSED const uint32_t *lut, EF_UNUSED const int8_t *in)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r12, #0\n"
        "subs r7, r1, r0\n"
        "beq 4f\n"
        "sub r3, r3, #1\n"
        "lsls r6, r7, #31\n"
        "beq 1f\n"
        "ldrb r4, [r0], #1\n"
        "ldr.w r4, [r2, r4, lsl #2]\n"
        "add.w r3, r3, r4, lsr #16\n"
        "ldrsb.w r6, [r3]\n"
        "smulbb r12, r4, r6\n"
        "cmp r7, #1\n"
        "beq 4f\n"
        "1:\n"
        "lsrs r7, r7, #1\n"
        "rsbs r7, r7, #0\n"
        "and r7, r7, #3\n"
        "movs r5, #40\n"
        "mul r7, r7, r5\n"
        "adr r5, 2f\n"
        "add r7, r7, r5\n"
        "adds r7, r7, #1\n"
        "bx r7\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ldrb r4, [r0], #1\n"
        "ldrb r5, [r0], #1\n"
        "ldr.w r4, [r2, r4, lsl #2]\n"
        "ldr.w r5, [r2, r5, lsl #2]\n"
        "add.w r3, r3, r4, lsr #16\n"
        "ldrsb.w r6, [r3]\n"
        "add.w r3, r3, r5, lsr #16\n"
        "ldrsb.w r7, [r3]\n"
        "smlabb r12, r4, r6, r12\n"
        "smlabb r12, r5, r7, r12\n"
        ".endr\n"
        "cmp r0, r1\n"
        "bne 2b\n"
        "4:\n"
        "mov r0, r12\n"
        "pop {r4-r7, pc}\n");
}

#else

int32_t ef_sparse_dot(const uint8_t *entry, const uint8_t *end, const uint32_t *lut,
                      const int8_t *in)
{
    int32_t acc = 0;
    uint32_t at = UINT32_MAX; /* one before the first tap */
    for (; entry != end; entry++) {
        const uint32_t word = lut[*entry];
        at += word >> 16;
        acc += ef_low(word) * in[at];
    }
    return acc;
}

#endif

void ef_sparse_dot_pixels(const uint8_t *entry, const uint8_t *end, const uint32_t *lut,
                          const int8_t *const in[EF_SPARSE_ROW_PIXELS],
                          int32_t sums[EF_SPARSE_ROW_PIXELS])
{
    const int8_t *in0 = in[0];
    const int8_t *in1 = in[1];
    const int8_t *in2 = in[2];
    const int8_t *in3 = in[3];
    int32_t sum0 = 0;
    int32_t sum1 = 0;
    int32_t sum2 = 0;
    int32_t sum3 = 0;
    uint32_t at = UINT32_MAX;
    for (; entry != end; entry++) {
        const uint32_t word = lut[*entry];
        const int32_t weight = ef_low(word);
        at += word >> 16;
        sum0 += weight * in0[at];
        sum1 += weight * in1[at];
        sum2 += weight * in2[at];
        sum3 += weight * in3[at];
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

#include "ef_attributes.h"
#include "ef_dense_folded_mve.h"

static EF_OUT_OF_LINE void dot_rows(const int8_t *x, const uint8_t *codes, const uint8_t *table,
                                    uint32_t steps, int32_t *sums)
{
#if EF_HAS_MVE
    const uint8_t *row1 = codes + EF_FOLDED_VECTOR * steps;
    const uint8_t *row2 = row1 + EF_FOLDED_VECTOR * steps;
    const uint8_t *row3 = row2 + EF_FOLDED_VECTOR * steps;
    int32_t s0 = 0;
    int32_t s1 = 0;
    int32_t s2 = 0;
    int32_t s3 = 0;
    register uint32_t left __asm__("lr") = steps;
    const uint8x16_t low_nibbles = vdupq_n_u8(15);
    __asm__ volatile(".macro ef_dense_row row, sum\n"
                     "vldrb.8 q2, [\\row], #16\n"
                     "vand q3, q2, %q[mask]\n"
                     "vldrb.u8 q4, [%[table], q3]\n"
                     "vmladava.s8 \\sum, q0, q4\n"
                     "vshr.u8 q2, q2, #4\n"
                     "vldrb.u8 q4, [%[table], q2]\n"
                     "vmladava.s8 \\sum, q1, q4\n"
                     ".endm\n"
                     "dls lr, %[left]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[x]], #16\n"
                     "vldrb.8 q1, [%[x]], #16\n"
                     "ef_dense_row %[row0], %[s0]\n"
                     "ef_dense_row %[row1], %[s1]\n"
                     "ef_dense_row %[row2], %[s2]\n"
                     "ef_dense_row %[row3], %[s3]\n"
                     "le lr, 1b\n"
                     ".purgem ef_dense_row\n"
                     : [x] "+r"(x), [row0] "+r"(codes), [row1] "+r"(row1), [row2] "+r"(row2),
                       [row3] "+r"(row3), [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2),
                       [s3] "+Te"(s3), [left] "+r"(left)
                     : [table] "r"(table), [mask] "w"(low_nibbles)
                     : "q0", "q1", "q2", "q3", "q4", "memory");
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
#else
    for (uint32_t r = 0; r < EF_MVE_CHANNELS; r++) {
        sums[r] = 0;
        for (uint32_t step = 0; step < steps; step++) {
            const int8_t *taps = x + 2 * EF_FOLDED_VECTOR * step;
            for (uint32_t i = 0; i < EF_FOLDED_VECTOR; i++) {
                const uint32_t pair = *codes++;
                sums[r] += taps[i] * (int8_t)table[pair & 15u];
                sums[r] += taps[i + EF_FOLDED_VECTOR] * (int8_t)table[pair >> 4];
            }
        }
    }
#endif
}

void ef_dense_s8_4bit_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    ef_dense_folded(a, in, out, scratch, 2, dot_rows);
}

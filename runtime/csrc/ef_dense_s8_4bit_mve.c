#include "ef_attributes.h"
#include "ef_conv2d.h"
#include "ef_mve.h"

/* A byte holds the codes of two taps that lie VECTOR apart, so that one vector of bytes gives two
 * vectors of codes in order. Rows are whole steps. */
#define VECTOR 16u
#define STEP (2 * VECTOR)

/* sums[r] = dot product of x with row r of four */
static EF_OUT_OF_LINE void dot_rows(const int8_t *x, const uint8_t *codes, const uint8_t *table,
                                    uint32_t steps, int32_t *sums)
{
#if EF_HAS_MVE
    const uint8_t *row1 = codes + VECTOR * steps;
    const uint8_t *row2 = row1 + VECTOR * steps;
    const uint8_t *row3 = row2 + VECTOR * steps;
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
            const int8_t *taps = x + step * STEP;
            for (uint32_t i = 0; i < VECTOR; i++) {
                const uint32_t pair = *codes++;
                sums[r] += taps[i] * (int8_t)table[pair & 15u];
                sums[r] += taps[i + VECTOR] * (int8_t)table[pair >> 4];
            }
        }
    }
#endif
}

void ef_dense_s8_4bit_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + STEP - 1) / STEP;
    const uint8_t *codes = (const uint8_t *)a->weights.data;
    int8_t *x = (int8_t *)scratch + a->strip_offset;

    ef_mve_copy(x, in, taps);
    ef_mve_fill(x + taps, 0, steps * STEP - taps);
    for (uint32_t c = 0; c < a->out_c; c += EF_MVE_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const ef_mve_output output =
            ef_mve_output_of(a, c, left < EF_MVE_CHANNELS ? left : EF_MVE_CHANNELS);
        int32_t sums[EF_MVE_CHANNELS];
        dot_rows(x, codes, a->weights.table, steps, sums);
        ef_mve_finish(&output, sums, out + c);
        codes += EF_MVE_CHANNELS * VECTOR * steps;
    }
}

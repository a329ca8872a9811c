/* What the dense kernels for MVE share that decode weights in registers. A byte holds the codes of
 * taps that lie EF_FOLDED_VECTOR apart, so that one vector of bytes gives vectors of codes in order.
 * Rows are whole steps: a vector of each code of a byte. */
#ifndef EF_DENSE_FOLDED_MVE_H
#define EF_DENSE_FOLDED_MVE_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_mve.h"

#define EF_FOLDED_VECTOR 16u

/* sums[r] = dot product of x with row r of four */
typedef void ef_folded_dot(const int8_t *x, const uint8_t *codes, const uint8_t *table,
                           uint32_t steps, int32_t *sums);

static inline void ef_dense_folded(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                   void *scratch, uint32_t codes_in_byte, ef_folded_dot *dot)
{
    const uint32_t step = codes_in_byte * EF_FOLDED_VECTOR;
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + step - 1) / step;
    const uint8_t *codes = (const uint8_t *)a->weights.data;
    int8_t *x = (int8_t *)scratch + a->strip_offset;

    ef_mve_copy(x, in, taps);
    ef_mve_fill(x + taps, 0, steps * step - taps);
    for (uint32_t c = 0; c < a->out_c; c += EF_MVE_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const ef_mve_output output =
            ef_mve_output_of(a, c, left < EF_MVE_CHANNELS ? left : EF_MVE_CHANNELS);
        int32_t sums[EF_MVE_CHANNELS];
        dot(x, codes, a->weights.table, steps, sums);
        ef_mve_finish(&output, sums, out + c);
        codes += EF_MVE_CHANNELS * EF_FOLDED_VECTOR * steps;
    }
}

#endif

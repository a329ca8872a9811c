/* What the dense kernels for cores with SMLAD share whose sums come out plain, one per channel. */
#ifndef EF_DENSE_DSP_H
#define EF_DENSE_DSP_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_numerics.h"
#include "ef_simd.h"

/* Results of `count` channels from `first` on: step * sums + extra + bias, requantized. */
static inline void ef_dense_finish(const ef_conv2d_args *a, uint32_t first, uint32_t count,
                                   const int32_t *sums, int32_t step, int32_t extra, int8_t *out)
{
    const int32_t *bias = a->bias + first;
    const int32_t *multiplier = a->multiplier + first;
    const int8_t *shift = a->shift + first;
    const uint32_t half_and_zero_point = (uint32_t)(2 * a->out_zero_point + 1);
    out += first;
    for (const int8_t *end = out + count; out != end; out++) {
        const int32_t acc = *sums++ * step + extra + *bias++;
        const uint32_t right = (uint32_t)-*shift++;
        const int32_t offset = (int32_t)(half_and_zero_point << (right - 1));
        *out = (int8_t)ef_requantize_doubled(2 * acc, *multiplier++, offset, (int32_t)right);
    }
}

/* A fused activation whose range is not int8's. */
static inline void ef_dense_clamp(const ef_conv2d_args *a, int8_t *out)
{
    if (a->clamp_min > -128 || a->clamp_max < 127) {
        for (uint32_t c = 0; c < a->out_c; c++) {
            out[c] = ef_clamp_s8(out[c], a->clamp_min, a->clamp_max);
        }
    }
}

#endif

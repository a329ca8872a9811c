/* What the dense kernels for cores with SMLAD share whose sums come out plain, one per channel. */
#ifndef EF_DENSE_DSP_H
#define EF_DENSE_DSP_H

#include <stdint.h>

#include "ef_channel.h"
#include "ef_clamp_outputs.h"
#include "ef_conv2d.h"
#include "ef_simd.h"

/* Channels of one turn of a kernel: their sums lie on the stack. */
#define EF_DENSE_CHANNELS 16u

/* Where the channels that come next are found; the assembler knows the offsets. */
typedef struct ef_dense_outputs {
    ef_channels tables;
    int8_t *out;
    int32_t step, extra; /* doubled: a channel's sum is step * sums + extra + bias */
    int32_t half_and_zero_point;
} ef_dense_outputs;

/* Results of the next `count` channels, at least one. */
void ef_dense_finish(ef_dense_outputs *outputs, const int32_t *sums, uint32_t count);

static inline ef_dense_outputs ef_dense_outputs_of(const ef_conv2d_args *a, int32_t step,
                                                   int32_t extra, int8_t *out)
{
    ef_dense_outputs outputs;
    outputs.tables = ef_channels_of(a);
    outputs.out = out;
    outputs.step = 2 * step;
    outputs.extra = 2 * extra;
    outputs.half_and_zero_point = 2 * a->out_zero_point + 1;
    return outputs;
}

#endif

#include "ef_conv2d.h"
#include "ef_numerics.h"
#include "ef_o8.h"
#include "ef_simd.h"

void ef_dense_s8_pairs_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t *table = (const uint32_t *)scratch; /* the strip lies behind it */
    const uint8_t *codes = (const uint8_t *)weights->data;
    ef_o8_block block;

    weights->decoder->prepare(weights, scratch);
    ef_o8_expand_input(in, taps, (uint32_t *)scratch + EF_PAIRS_4BIT_LUT_BYTES / 4);
    block.steps = steps;
    for (uint32_t c = 0; c < a->out_c; c += EF_O8_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint32_t channels = left < EF_O8_CHANNELS ? left : EF_O8_CHANNELS;
        ef_o8_begin_block(a, c, channels, &block);
        for (uint32_t i = 0; i < channels; i++) {
            block.start[i] = 2 * a->bias[c + i]; /* like the weights in the table */
        }
        if (channels == EF_O8_CHANNELS) {
            ef_pairs_single(&block, codes, table, out + c);
        } else {
            int8_t last[EF_O8_CHANNELS];
            ef_pairs_single(&block, codes, table, last);
            memcpy(out + c, last, channels);
        }
        codes += steps * EF_O8_TAPS * EF_O8_CHANNELS / 2;
    }
    if (a->clamp_min > -128 || a->clamp_max < 127) {
        for (uint32_t c = 0; c < a->out_c; c++) {
            out[c] = ef_clamp_s8(out[c], a->clamp_min, a->clamp_max);
        }
    }
}

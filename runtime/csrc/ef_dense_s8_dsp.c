#include "ef_clamp_outputs.h"
#include "ef_conv2d.h"
#include "ef_o8.h"
#include "ef_simd.h"

void ef_dense_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t tile_codes = steps * EF_O8_TAPS * EF_O8_CHANNELS;
    uint32_t *strip = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    uint32_t *tile = (uint32_t *)(void *)((int8_t *)scratch + a->tile_offset);
    ef_o8_block block;

    ef_o8_expand_input(in, taps, strip);
    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    block.steps = steps;
    for (uint32_t c = 0; c < a->out_c; c += EF_O8_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint32_t channels = left < EF_O8_CHANNELS ? left : EF_O8_CHANNELS;
        const uint32_t first = c / EF_O8_CHANNELS * tile_codes;
        const uint32_t *words = (const uint32_t *)weights->data + first / 4;
        if (weights->decoder != NULL) {
            weights->decoder->decode(weights, scratch, first, tile_codes, tile);
            words = tile;
        }
        ef_o8_begin_block(a, c, channels, &block);
        if (channels == EF_O8_CHANNELS) {
            ef_o8_single(&block, words, strip, out + c);
        } else {
            int8_t last[EF_O8_CHANNELS];
            ef_o8_single(&block, words, strip, last);
            memcpy(out + c, last, channels);
        }
    }
    ef_clamp_outputs(a, out, a->out_c);
}

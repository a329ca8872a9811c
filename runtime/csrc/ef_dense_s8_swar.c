#include "ef_conv2d.h"
#include "ef_swar.h"

void ef_dense_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t codes = taps * EF_SWAR_CHANNELS;
    const uint8_t *const tile = (const uint8_t *)scratch + a->tile_offset;
    uint8_t *x = (uint8_t *)scratch + a->strip_offset;
    uint32_t sums[EF_SWAR_CHANNELS];
    ef_swar_block block;

    block.pixel[0].offset = 128 * ef_swar_expand(in, taps, x);
    block.pixel[1].out = NULL;
    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t c = 0; c < a->out_c; c += EF_SWAR_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint8_t *w = (const uint8_t *)weights->data + c * taps;
        if (weights->decoder != NULL) {
            weights->decoder->decode(weights, scratch, c * taps, codes,
                                     (uint8_t *)scratch + a->tile_offset);
            w = tile;
        }
        ef_swar_begin(a, c, left < EF_SWAR_CHANNELS ? left : EF_SWAR_CHANNELS, &block);
        block.pixel[0].sums = sums;
        block.pixel[0].out = out + c;
        ef_swar_single(x, w, taps, sums);
        ef_swar_finish(&block);
    }
}

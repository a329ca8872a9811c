#include "ef_dense_dsp.h"
#include "ef_o8.h"

void ef_dense_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const ef_decoder *decoder = weights->decoder;
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t tile_codes = steps * EF_O8_TAPS * EF_O8_CHANNELS;
    const uint32_t *words = (const uint32_t *)weights->data;
    uint32_t *strip = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    uint32_t *tile = (uint32_t *)(void *)((int8_t *)scratch + a->tile_offset);
    ef_dense_outputs outputs = ef_dense_outputs_of(a, 1, 0, out);

    ef_o8_expand_input(in, taps, strip);
    if (decoder != NULL && decoder->prepare != NULL) {
        decoder->prepare(weights, scratch);
    }
    for (uint32_t c = 0; c < a->out_c; c += EF_DENSE_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint32_t channels = left < EF_DENSE_CHANNELS ? left : EF_DENSE_CHANNELS;
        const uint32_t blocks = (channels + EF_O8_CHANNELS - 1) / EF_O8_CHANNELS;
        int32_t sums[EF_DENSE_CHANNELS];
        if (decoder == NULL) {
            ef_o8_dot(words, strip, steps, sums, blocks);
            words += blocks * (tile_codes / 4);
        } else {
            for (uint32_t block = 0; block < blocks; block++) {
                const uint32_t first = (c / EF_O8_CHANNELS + block) * tile_codes;
                decoder->decode(weights, scratch, first, tile_codes, tile);
                ef_o8_dot(tile, strip, steps, sums + EF_O8_CHANNELS * block, 1);
            }
        }
        ef_dense_finish(&outputs, sums, channels);
    }
    ef_clamp_outputs(a, out, a->out_c);
}

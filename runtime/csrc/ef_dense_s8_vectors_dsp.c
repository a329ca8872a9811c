#include "ef_dense_dsp.h"
#include "ef_o8.h"
#include "ef_vectors.h"

void ef_dense_s8_vectors_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t *table = (const uint32_t *)a->weights.data;
    const uint8_t *codes = (const uint8_t *)(table + EF_VECTORS_TABLE_WORDS);
    const uint32_t *table_and_strip[2] = {table, (const uint32_t *)scratch};
    ef_dense_outputs outputs = ef_dense_outputs_of(a, 1, 0, out);

    ef_o8_expand_input(in, taps, (uint32_t *)scratch);
    for (uint32_t c = 0; c < a->out_c; c += EF_DENSE_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint32_t channels = left < EF_DENSE_CHANNELS ? left : EF_DENSE_CHANNELS;
        int32_t sums[EF_DENSE_CHANNELS];
        ef_vectors_dot(codes, table_and_strip, steps, sums,
                       (channels + EF_VECTORS_CHANNELS - 1) / EF_VECTORS_CHANNELS);
        ef_dense_finish(&outputs, sums, channels);
        codes += steps * EF_DENSE_CHANNELS;
    }
    ef_clamp_outputs(a, out, a->out_c);
}

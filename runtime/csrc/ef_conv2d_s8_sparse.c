#include "ef_conv2d.h"
#include "ef_numerics.h"
#include "ef_sparse.h"

/* lut[byte]: steps << 16 | weight */
static void prepare(const ef_weights *weights, uint32_t *lut)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        const uint8_t entry[2] = {(uint8_t)byte, 0};
        uint32_t steps;
        const int32_t value = ef_sparse_entry(weights, entry, &steps);
        lut[byte] = steps << 16 | ((uint32_t)value & 0xFFFFu);
    }
}

static inline int32_t low_half(uint32_t word)
{
    return (int16_t)(uint16_t)word;
}

/* Adds a row's products for one pixel. `at` counts taps, one past the last. */
static int32_t dot_clustered(const uint8_t *entry, const uint8_t *end, const uint32_t *lut,
                             const int8_t *in)
{
    int32_t acc = 0;
    uint32_t at = UINT32_MAX;
    for (; end - entry >= 4; entry += 4) {
        const uint32_t word0 = lut[entry[0]];
        const uint32_t word1 = lut[entry[1]];
        const uint32_t word2 = lut[entry[2]];
        const uint32_t word3 = lut[entry[3]];
        at += word0 >> 16;
        acc += low_half(word0) * in[at];
        at += word1 >> 16;
        acc += low_half(word1) * in[at];
        at += word2 >> 16;
        acc += low_half(word2) * in[at];
        at += word3 >> 16;
        acc += low_half(word3) * in[at];
    }
    for (; entry != end; entry++) {
        const uint32_t word = lut[*entry];
        at += word >> 16;
        acc += low_half(word) * in[at];
    }
    return acc;
}

static int32_t dot_raw(const uint8_t *entry, const uint8_t *end, const int8_t *in)
{
    int32_t acc = 0;
    uint32_t at = UINT32_MAX;
    for (; entry != end; entry += 2) {
        const int32_t value = (int8_t)entry[1];
        at += ((uint32_t)entry[0] + 1) << (value == 0 ? EF_SPARSE_RAW_GAP_BITS : 0);
        acc += value * in[at];
    }
    return acc;
}

void ef_conv2d_s8_sparse(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const int dense = a->out_h == 1 && a->out_w == 1;
    const uint32_t step_x = dense ? 0 : (uint32_t)a->in_c * a->stride_w;
    const uint32_t step_y = dense ? 0 : (uint32_t)a->in_c * a->in_w * a->stride_h;
    const uint32_t entry_bytes = ef_sparse_entry_bytes(weights);
    const uint8_t *row = (const uint8_t *)weights->data;
    uint32_t *lut = (uint32_t *)scratch;

    if (entry_bytes == 1) {
        prepare(weights, lut);
    }
    for (uint32_t c = 0; c < a->out_c; c++) {
        const uint8_t *first = row + 2;
        const uint8_t *end = first + ef_sparse_entries(row) * entry_bytes;
        const int32_t bias = a->bias[c];
        int8_t *to = out + c;
        for (uint32_t y = 0; y < a->out_h; y++) {
            const int8_t *from = in + y * step_y;
            for (uint32_t x = 0; x < a->out_w; x++) {
                const int32_t sum = entry_bytes == 1 ? dot_clustered(first, end, lut, from)
                                                     : dot_raw(first, end, from);
                const int32_t scaled =
                    ef_requantize(bias + sum, a->multiplier[c], a->shift[c]);
                *to = ef_clamp_s8(scaled + a->out_zero_point, a->clamp_min, a->clamp_max);
                from += step_x;
                to += a->out_c;
            }
        }
        row = end;
    }
}

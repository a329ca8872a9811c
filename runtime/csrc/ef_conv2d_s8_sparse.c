#include "ef_channel.h"
#include "ef_conv2d.h"
#include "ef_numerics.h"
#include "ef_sparse.h"

/* lut[byte]: steps << 16 | weight */
static void prepare(const ef_weights *weights, uint32_t *lut)
{
    const uint32_t gaps = (uint32_t)1 << weights->gap_bits;
    const uint32_t step = (uint32_t)1 << 16;
    const uint8_t *value = weights->table;
    for (uint32_t *end = lut + EF_SPARSE_LUT_BYTES / 4; lut != end; value++) {
        const uint32_t low = ((uint32_t)*value ^ 128u) - 128u;
        const uint32_t move = *value == 0 ? step << weights->gap_bits : step;
        uint32_t word = (low & 0xFFFFu) + move;
        for (const uint32_t *last = lut + gaps; lut != last; lut++) {
            *lut = word;
            word += move;
        }
    }
}

static int32_t dot_raw(const uint8_t *entry, const uint8_t *end, const int8_t *in)
{
    int32_t acc = 0;
    uint32_t at = UINT32_MAX; /* one before the first tap */
    for (; entry != end; entry += 2) {
        const int32_t value = (int8_t)entry[1];
        at += ((uint32_t)entry[0] + 1) << (value == 0 ? EF_SPARSE_RAW_GAP_BITS : 0);
        acc += value * in[at];
    }
    return acc;
}

static const int8_t *input_of(const ef_conv2d_args *a, const int8_t *in, uint32_t pixel)
{
    if (a->out_w == a->in_w && a->out_h == a->in_h) {
        return in + pixel * a->in_c;
    }
    const uint32_t y = pixel / a->out_w;
    const uint32_t x = pixel - y * a->out_w;
    return in + (y * a->stride_h * a->in_w + x * a->stride_w) * a->in_c;
}

void ef_conv2d_s8_sparse(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t entry_bytes = ef_sparse_entry_bytes(weights);
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    uint32_t *lut = (uint32_t *)scratch;
    uint32_t count;

    if (entry_bytes == 1) {
        prepare(weights, lut);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += count) {
        const int8_t *from[EF_SPARSE_ROW_PIXELS];
        const uint8_t *row = (const uint8_t *)weights->data;
        count = pixels - pixel < EF_SPARSE_ROW_PIXELS || entry_bytes != 1 ? 1 : EF_SPARSE_ROW_PIXELS;
        for (uint32_t i = 0; i < count; i++) {
            from[i] = input_of(a, in, pixel + i);
        }
        for (uint32_t c = 0; c < a->out_c; c++) {
            const uint8_t *first = row + 2;
            const uint8_t *end = first + ef_sparse_entries(row) * entry_bytes;
            int32_t sums[EF_SPARSE_ROW_PIXELS];
            if (entry_bytes != 1) {
                sums[0] = dot_raw(first, end, from[0]);
            } else if (count == 1) {
                sums[0] = ef_sparse_dot(first, end, lut, from[0]);
            } else {
                ef_sparse_dot_pixels(first, end, lut, from, sums);
            }
            const ef_channel channel = ef_channel_of(a, c);
            int8_t *to = out + pixel * a->out_c + c;
            for (uint32_t i = 0; i < count; i++) {
                const int32_t scaled =
                    ef_requantize(channel.bias + sums[i], channel.multiplier, channel.shift);
                *to = ef_clamp_s8(scaled + a->out_zero_point, a->clamp_min, a->clamp_max);
                to += a->out_c;
            }
            row = end;
        }
    }
}

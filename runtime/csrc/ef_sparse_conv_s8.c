#include <string.h>

#include "ef_attributes.h"
#include "ef_numerics.h"
#include "ef_sparse_conv.h"

/* Copies the receptive field of one output pixel. */
static void gather(const ef_sparse_conv_args *a, const int8_t *in, uint32_t pixel, int8_t *field)
{
    const uint32_t depth = a->in_c;
    const uint32_t oy = pixel / a->out_w;
    const int32_t x0 = (int32_t)(pixel - oy * a->out_w) * a->stride_w - a->pad_left;
    int32_t y = (int32_t)oy * a->stride_h - a->pad_top;
    const uint32_t line = (uint32_t)a->kernel_w * depth;
    /* columns that lie together inside the map are copied together */
    const int whole = a->dilation_w == 1 && x0 >= 0 && x0 + a->kernel_w <= a->in_w;
    for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
        const int8_t *row = in + y * a->in_w * (int32_t)depth;
        if (y < 0 || y >= a->in_h) {
            memset(field, a->in_zero_point, line);
        } else if (whole) {
            memcpy(field, row + x0 * (int32_t)depth, line);
        } else {
            int32_t x = x0;
            int8_t *to = field;
            for (uint32_t kx = a->kernel_w; kx != 0; kx--) {
                if (x < 0 || x >= a->in_w) {
                    memset(to, a->in_zero_point, depth);
                } else {
                    memcpy(to, row + x * (int32_t)depth, depth);
                }
                to += depth;
                x += a->dilation_w;
            }
        }
        field += line;
        y += a->dilation_h;
    }
}

/* Adds the products of `count` pairs for four fields that are `size` bytes apart; returns the end
 * of the pairs. */
static const uint8_t *add_products(const uint8_t *entry, uint32_t count, const int8_t *field,
                                   uint32_t size, int32_t *acc)
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    int32_t acc2 = acc[2];
    int32_t acc3 = acc[3];
    const int8_t *third = field + 2 * size;
    for (const uint8_t *end = entry + 2 * count; entry != end;) {
        const uint32_t gap = *entry++;
        const int32_t weight = (int8_t)*entry++;
        field += gap;
        third += gap;
        acc0 += weight * field[0];
        acc1 += weight * field[size];
        acc2 += weight * third[0];
        acc3 += weight * third[size];
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
    return entry;
}

/* Requantization and clamp of one channel of `n` pixels. Bytes may alias anything, so what the loop
 * needs of the arguments is kept in locals. */
EF_OUT_OF_LINE static void finish(const ef_sparse_conv_args *a, uint32_t oc, const int32_t *acc, uint32_t n,
                   int8_t *out)
{
    const int32_t multiplier = a->multiplier[oc];
    const int32_t shift = a->shift[oc];
    const int32_t zero_point = a->out_zero_point;
    const int32_t low = a->clamp_min;
    const int32_t high = a->clamp_max;
    const uint32_t step = a->out_c;
    for (const int32_t *end = acc + n; acc != end; acc++) {
        *out = ef_clamp_s8(ef_requantize(*acc, multiplier, shift) + zero_point, low, high);
        out += step;
    }
}

void ef_sparse_conv_s8(const ef_sparse_conv_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const uint32_t size = (uint32_t)a->kernel_h * a->kernel_w * a->in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t out_c = a->out_c;
    int8_t *fields = (int8_t *)scratch;
    for (uint32_t pixel = 0; pixel < pixels; pixel += EF_SPARSE_PIXELS) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < EF_SPARSE_PIXELS ? left : EF_SPARSE_PIXELS;
        for (uint32_t p = 0; p < EF_SPARSE_PIXELS; p++) {
            /* A last short turn works on the last pixel several times. */
            gather(a, in, pixel + (p < n ? p : n - 1), fields + p * size);
        }
        const uint8_t *entry = a->entries;
        for (uint32_t oc = 0; oc < out_c; oc++) {
            const int32_t bias = a->bias[oc];
            int32_t acc[EF_SPARSE_PIXELS] = {bias, bias, bias, bias};
            entry = add_products(entry, a->counts[oc], fields, size, acc);
            finish(a, oc, acc, n, out + pixel * out_c + oc);
        }
    }
}

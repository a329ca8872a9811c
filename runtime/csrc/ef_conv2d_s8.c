#include "ef_conv2d.h"
#include "ef_numerics.h"

/* Output channels computed together; the weights of a block lie as [k][BLOCK]. */
#define BLOCK 4u

/* Copies the receptive field of one output pixel, in the order of the weights, to `row`.
 * Returns the sum of what was copied. */
static int32_t gather(const ef_conv2d_args *a, const int8_t *in, uint32_t pixel, uint32_t first_c,
                      int8_t *row)
{
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const int32_t y0 = (int32_t)(pixel / a->out_w) * a->stride_h - a->pad_top;
    const int32_t x0 = (int32_t)(pixel % a->out_w) * a->stride_w - a->pad_left;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t y = y0 + ky * a->dilation_h;
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const int32_t x = x0 + kx * a->dilation_w;
            if (y >= 0 && y < a->in_h && x >= 0 && x < a->in_w) {
                const int8_t *source = in + (y * a->in_w + x) * a->in_c + first_c;
                for (uint32_t c = 0; c < group_in_c; c++) {
                    const int32_t value = source[c];
                    row[c] = (int8_t)value;
                    sum += value;
                }
            } else {
                for (uint32_t c = 0; c < group_in_c; c++) {
                    row[c] = (int8_t)a->in_zero_point;
                }
                sum += a->in_zero_point * (int32_t)group_in_c;
            }
            row += group_in_c;
        }
    }
    return sum;
}

/* acc[c] = sum over k of (w[k][c]) * x[k]. Unsigned weights, because Cortex-M0+ has no load of a
 * signed byte at a constant offset; the caller takes the 128 * sum(x) off. */
static void dot_block(const int8_t *x, const uint8_t *w, uint32_t k, int32_t *acc)
{
    int32_t acc0 = 0;
    int32_t acc1 = 0;
    int32_t acc2 = 0;
    int32_t acc3 = 0;
    for (const int8_t *end = x + k; x != end; x++) {
        const int32_t value = *x;
        acc0 += value * w[0];
        acc1 += value * w[1];
        acc2 += value * w[2];
        acc3 += value * w[3];
        w += BLOCK;
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}

void ef_conv2d_s8(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t group_out_c = (uint32_t)a->out_c / a->groups;
    const uint32_t k = (uint32_t)a->kernel_h * a->kernel_w * group_in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t blocks = (group_out_c + BLOCK - 1) / BLOCK;
    int32_t *sums = (int32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    int8_t *strip = (int8_t *)(sums + a->strip_pixels);
    uint8_t *tile = (uint8_t *)scratch + a->tile_offset;

    for (uint32_t pixel = 0; pixel < pixels; pixel += a->strip_pixels) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < a->strip_pixels ? left : a->strip_pixels;
        for (uint32_t group = 0; group < a->groups; group++) {
            for (uint32_t p = 0; p < n; p++) {
                sums[p] = gather(a, in, pixel + p, group * group_in_c, strip + p * k);
            }
            for (uint32_t block = 0; block < blocks; block++) {
                const uint32_t first = (group * blocks + block) * k * BLOCK;
                const uint8_t *w = (const uint8_t *)weights->data + first;
                if (weights->decoder != NULL) {
                    weights->decoder->decode(weights, NULL, first, k * BLOCK, tile);
                    w = tile;
                }
                const uint32_t c0 = block * BLOCK;
                const uint32_t c_end = c0 + BLOCK < group_out_c ? c0 + BLOCK : group_out_c;
                for (uint32_t p = 0; p < n; p++) {
                    int8_t *target = out + (pixel + p) * a->out_c + group * group_out_c;
                    int32_t acc[BLOCK];
                    dot_block(strip + p * k, w, k, acc);
                    for (uint32_t c = c0; c < c_end; c++) {
                        const uint32_t oc = group * group_out_c + c;
                        const int32_t sum = a->bias[oc] + acc[c - c0] - 128 * sums[p];
                        const int32_t scaled =
                            ef_requantize(sum, a->multiplier[oc], a->shift[oc]);
                        target[c] = ef_clamp_s8(scaled + a->out_zero_point, a->clamp_min,
                                                a->clamp_max);
                    }
                }
            }
        }
    }
}

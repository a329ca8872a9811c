#include "ef_channel.h"
#include "ef_conv2d.h"
#include "ef_dot_fours.h"
#include "ef_numerics.h"

/* Output channels computed together; the weights of a block lie as [k][BLOCK]. */
#define BLOCK 4u

/* Where the receptive field of a pixel goes. Values are stored as value + 128: Cortex-M0+ has no
 * load of a signed byte at a constant offset. The exporter takes 128 * sum(weights) off the bias. */
typedef struct {
    uint8_t *to;
    int32_t sum;
} field;

static void fill(field *f, int32_t value, uint32_t count)
{
    uint8_t *to = f->to;
    f->sum += value * (int32_t)count;
    for (uint8_t *end = to + count; to != end; to++) {
        *to = (uint8_t)value;
    }
    f->to = to;
}

static void copy(field *f, const int8_t *from, uint32_t count)
{
    uint8_t *to = f->to;
    int32_t sum = f->sum;
    for (uint8_t *end = to + count; to != end; to++) {
        const int32_t value = *from++ + 128;
        *to = (uint8_t)value;
        sum += value;
    }
    f->to = to;
    f->sum = sum;
}

static int32_t between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Copies the receptive field of one output pixel, in the order of the weights, to `row`.
 * Returns the sum of what was written. */
static int32_t gather(const ef_conv2d_args *a, const int8_t *in, uint32_t pixel, uint32_t first_c,
                      uint8_t *row)
{
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t oy = pixel / a->out_w;
    const int32_t x0 = (int32_t)(pixel - oy * a->out_w) * a->stride_w - a->pad_left;
    const int32_t padding = a->in_zero_point + 128;
    /* taps of a line that lie together are copied together */
    const int32_t run = a->groups == 1 && a->dilation_w == 1 ? a->kernel_w : 1;
    int32_t y = (int32_t)oy * a->stride_h - a->pad_top;
    field f = {row, 0};
    for (int32_t ky = a->kernel_h; ky != 0; ky--) {
        int32_t x = x0;
        for (int32_t kx = 0; kx < a->kernel_w; kx += run) {
            if (y < 0 || y >= a->in_h) {
                fill(&f, padding, (uint32_t)run * group_in_c);
            } else {
                const int32_t left = between(-x, 0, run);
                const int32_t right = between(x + run - a->in_w, 0, run);
                if (left != 0) {
                    fill(&f, padding, (uint32_t)left * group_in_c);
                }
                if (left + right != run) {
                    copy(&f, in + (y * a->in_w + x + left) * a->in_c + first_c,
                         (uint32_t)(run - left - right) * group_in_c);
                }
                if (right != 0) {
                    fill(&f, padding, (uint32_t)right * group_in_c);
                }
            }
            x += a->dilation_w;
        }
        y += a->dilation_h;
    }
    return f.sum;
}

/* Bias, requantization and clamp of `count` output channels from oc on. */
static void finish_block(const ef_conv2d_args *a, uint32_t oc, uint32_t count, const int32_t *acc,
                         int32_t offset, int8_t *out)
{
    const ef_channels tables = ef_channels_of(a);
    const int32_t zero_point = a->out_zero_point;
    const int32_t low = a->clamp_min;
    const int32_t high = a->clamp_max;
    for (int8_t *end = out + count; out != end; out++) {
        const ef_channel c = ef_channel_at(&tables, oc++);
        const int32_t scaled = ef_requantize(c.bias + *acc++ - offset, c.multiplier, c.shift);
        *out = ef_clamp_s8(scaled + zero_point, low, high);
    }
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
    uint8_t *strip = (uint8_t *)(sums + a->strip_pixels);
    uint8_t *tile = (uint8_t *)scratch + a->tile_offset;

    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
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
                    weights->decoder->decode(weights, scratch, first, k * BLOCK, tile);
                    w = tile;
                }
                const uint32_t c0 = block * BLOCK;
                const uint32_t c_end = c0 + BLOCK < group_out_c ? c0 + BLOCK : group_out_c;
                for (uint32_t p = 0; p < n; p++) {
                    int8_t *target = out + (pixel + p) * a->out_c + group * group_out_c;
                    int32_t acc[BLOCK];
                    ef_dot_block(strip + p * k, w, k, acc);
                    finish_block(a, group * group_out_c + c0, c_end - c0, acc, 128 * sums[p],
                                 target + c0);
                }
            }
        }
    }
}

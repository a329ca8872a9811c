#include "ef_channel.h"
#include "ef_conv2d.h"
#include "ef_numerics.h"

/* Copies a channel of the map into a plane with its padding around it, as value + 128: Cortex-M0+
 * has no load of a signed byte at a constant offset. The exporter takes 128 * sum(weights) off the
 * bias. */
static void fill_plane(const ef_conv2d_args *a, const int8_t *in, uint8_t *plane, uint32_t plane_h,
                       uint32_t plane_w)
{
    const uint8_t padding = (uint8_t)(a->in_zero_point + 128);
    const uint32_t step = a->in_c;
    for (uint32_t row = 0; row < plane_h; row++) {
        const uint32_t y = row - a->pad_top; /* wraps above the map, so one comparison is enough */
        uint8_t *const end = plane + plane_w;
        uint8_t *const first = plane + (a->pad_left < plane_w ? a->pad_left : plane_w);
        uint8_t *last = end;
        if (y >= a->in_h) {
            last = first;
        } else if ((uint32_t)(end - first) > a->in_w) {
            last = first + a->in_w;
        }
        for (; plane != first; plane++) {
            *plane = padding;
        }
        if (plane != last) {
            const int8_t *x = in + y * a->in_w * step;
            for (; plane != last; plane++) {
                *plane = (uint8_t)(*x + 128);
                x += step;
            }
        }
        for (; plane != end; plane++) {
            *plane = padding;
        }
    }
}

/* Three taps that lie together. */
static inline int32_t dot_3(const uint8_t *x, const int32_t *w)
{
    return x[0] * w[0] + x[1] * w[1] + x[2] * w[2];
}

/* What an output channel's accumulators go through, held outside the loops over pixels. */
typedef struct {
    ef_channel table;
    int32_t zero_point, low, high;
} channel;

static channel channel_of(const ef_conv2d_args *a, uint32_t oc)
{
    const channel c = {ef_channel_of(a, oc), a->out_zero_point, a->clamp_min, a->clamp_max};
    return c;
}

static inline int8_t finish(const channel *c, int32_t acc)
{
    const int32_t scaled = ef_requantize(acc + c->table.bias, c->table.multiplier, c->table.shift);
    return ef_clamp_s8(scaled + c->zero_point, c->low, c->high);
}

static void convolve_3x3(const ef_conv2d_args *a, const uint8_t *plane, uint32_t plane_w,
                         const int8_t *weights, uint32_t oc, int8_t *out)
{
    int32_t w[9];
    for (uint32_t k = 0; k < 9; k++) {
        w[k] = weights[k];
    }
    const channel c = channel_of(a, oc);
    for (uint32_t oy = 0; oy < a->out_h; oy++) {
        const uint8_t *x = plane + oy * a->stride_h * plane_w;
        for (uint32_t ox = a->out_w; ox != 0; ox--) {
            *out = finish(&c, dot_3(x, w) + dot_3(x + plane_w, w + 3) +
                                  dot_3(x + 2 * plane_w, w + 6));
            out += a->out_c;
            x += a->stride_w;
        }
    }
}

/* One output channel from its padded plane; out is the channel's first element. */
static void convolve(const ef_conv2d_args *a, const uint8_t *plane, uint32_t plane_w,
                     const int8_t *weights, uint32_t oc, int8_t *out)
{
    const uint32_t line = plane_w * a->dilation_h;
    const channel c = channel_of(a, oc);
    for (uint32_t oy = 0; oy < a->out_h; oy++) {
        const uint8_t *corner = plane + oy * a->stride_h * plane_w;
        for (uint32_t ox = a->out_w; ox != 0; ox--) {
            const uint8_t *x = corner;
            const int8_t *w = weights;
            int32_t acc = 0;
            for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
                const uint8_t *tap = x;
                for (uint32_t kx = a->kernel_w; kx != 0; kx--) {
                    acc += *tap * *w++;
                    tap += a->dilation_w;
                }
                x += line;
            }
            *out = finish(&c, acc);
            out += a->out_c;
            corner += a->stride_w;
        }
    }
}

void ef_depthwise_s8(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t multiplier = (uint32_t)a->out_c / a->in_c;
    const uint32_t plane_h = (a->out_h - 1u) * a->stride_h + (a->kernel_h - 1u) * a->dilation_h + 1;
    const uint32_t plane_w = (a->out_w - 1u) * a->stride_w + (a->kernel_w - 1u) * a->dilation_w + 1;
    const int is_3x3 =
        a->kernel_h == 3 && a->kernel_w == 3 && a->dilation_h == 1 && a->dilation_w == 1;
    uint8_t *plane = (uint8_t *)scratch + a->strip_offset;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;

    for (uint32_t c = 0; c < a->in_c; c++) {
        fill_plane(a, in + c, plane, plane_h, plane_w);
        for (uint32_t m = 0; m < multiplier; m++) {
            const uint32_t oc = c * multiplier + m;
            const int8_t *w = (const int8_t *)weights->data + oc * taps;
            if (weights->decoder != NULL) {
                weights->decoder->decode(weights, NULL, oc * taps, taps, tile);
                w = tile;
            }
            if (is_3x3) {
                convolve_3x3(a, plane, plane_w, w, oc, out + oc);
            } else {
                convolve(a, plane, plane_w, w, oc, out + oc);
            }
        }
    }
}

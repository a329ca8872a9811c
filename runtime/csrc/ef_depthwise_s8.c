#include "ef_conv2d.h"
#include "ef_numerics.h"

/* Copies channel c of the map into a plane with its padding around it. */
static void fill_plane(const ef_conv2d_args *a, const int8_t *in, int8_t *plane, uint32_t plane_h,
                       uint32_t plane_w)
{
    const uint32_t left = a->pad_left;
    for (uint32_t row = 0; row < plane_h; row++) {
        const uint32_t y = row - a->pad_top; /* wraps above the map, so one comparison is enough */
        for (uint32_t column = 0; column < plane_w; column++) {
            const uint32_t x = column - left;
            plane[column] = y < a->in_h && x < a->in_w ? in[(y * a->in_w + x) * a->in_c]
                                                       : (int8_t)a->in_zero_point;
        }
        plane += plane_w;
    }
}

/* One output channel from its padded plane; out is the channel's first element. */
static void convolve_plane(const ef_conv2d_args *a, const int8_t *plane, uint32_t plane_w,
                           const int8_t *w, uint32_t oc, int8_t *out)
{
    const int32_t bias = a->bias[oc];
    const int32_t multiplier = a->multiplier[oc];
    const int32_t shift = a->shift[oc];
    const uint32_t line = plane_w * a->dilation_h;
    for (uint32_t oy = 0; oy < a->out_h; oy++) {
        const int8_t *corner = plane + oy * a->stride_h * plane_w;
        for (uint32_t ox = 0; ox < a->out_w; ox++) {
            const int8_t *x = corner;
            const int8_t *weight = w;
            int32_t acc = bias;
            for (uint32_t ky = 0; ky < a->kernel_h; ky++) {
                const int8_t *tap = x;
                for (uint32_t kx = 0; kx < a->kernel_w; kx++) {
                    acc += *tap * *weight++;
                    tap += a->dilation_w;
                }
                x += line;
            }
            *out = ef_clamp_s8(ef_requantize(acc, multiplier, shift) + a->out_zero_point,
                               a->clamp_min, a->clamp_max);
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
    int8_t *plane = (int8_t *)scratch + a->strip_offset;
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
            convolve_plane(a, plane, plane_w, w, oc, out + oc);
        }
    }
}

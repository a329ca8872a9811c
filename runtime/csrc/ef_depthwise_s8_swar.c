#include "ef_attributes.h"
#include "ef_conv2d.h"
#include "ef_swar_3x3.h"

/* Lines of a map that a plane takes its two halves from. */
typedef struct {
    const int8_t *first, *second; /* NULL: padding */
} lines;

/* `count` words of two lines whose elements are `step` apart. */
static EF_OUT_OF_LINE uint32_t *merge(lines from, int32_t step, uint32_t count, int32_t padding,
                                      uint32_t *to)
{
    uint32_t *const end = to + count;
    if (from.first != NULL && from.second != NULL) {
        while (to != end) {
            *to++ = (uint32_t)(int32_t)*from.first + ((uint32_t)(int32_t)*from.second << 16);
            from.first += step;
            from.second += step;
        }
        return to;
    }
    while (to != end) {
        int32_t first = padding;
        int32_t second = padding;
        if (from.first != NULL) {
            first = *from.first;
            from.first += step;
        }
        if (from.second != NULL) {
            second = *from.second;
            from.second += step;
        }
        *to++ = (uint32_t)first + ((uint32_t)second << 16);
    }
    return to;
}

/* Where element 0 of line y of a channel lies. */
static const int8_t *line_of(const ef_conv2d_args *a, const int8_t *in, int32_t y)
{
    return y >= 0 && y < a->in_h ? in + y * a->in_w * a->in_c : NULL;
}

/* Fills the plane of one channel: `height` lines, and with each the one `apart` lines below it. */
static void fill_plane(const ef_conv2d_args *a, const int8_t *in, int32_t height, uint32_t pitch,
                       int32_t apart, uint32_t *plane)
{
    const lines outside = {NULL, NULL};
    const uint32_t left = a->pad_left < pitch ? a->pad_left : pitch;
    const uint32_t inside = a->in_w < pitch - left ? a->in_w : pitch - left;
    for (int32_t y = -(int32_t)a->pad_top; y != height - a->pad_top; y++) {
        const lines from = {line_of(a, in, y), line_of(a, in, y + apart)};
        plane = merge(outside, 0, left, a->in_zero_point, plane);
        plane = merge(from, a->in_c, inside, a->in_zero_point, plane);
        plane = merge(outside, 0, pitch - left - inside, a->in_zero_point, plane);
    }
}

void ef_depthwise_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t multiplier = (uint32_t)a->out_c / a->in_c;
    const uint32_t pitch = (a->out_w - 1u) * a->stride_w + 3;
    /* rows of the first half; the second may be one shorter */
    const int32_t rows = (a->out_h + 1) / 2;
    const int32_t height = (rows - 1) * a->stride_h + 3;
    uint32_t *plane = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    ef_swar_3x3 channel;

    channel.zero_point = a->out_zero_point;
    channel.low = a->clamp_min;
    channel.high = a->clamp_max;
    channel.pitch = (int32_t)(4 * pitch);
    channel.step = 4 * a->stride_w;
    channel.gap = a->stride_h * channel.pitch - a->out_w * channel.step;
    channel.columns = a->out_w;
    channel.out_step = a->out_c;
    for (uint32_t c = 0; c < a->in_c; c++) {
        fill_plane(a, in + c, height, pitch, rows * a->stride_h, plane);
        for (uint32_t oc = c * multiplier; oc < (c + 1) * multiplier; oc++) {
            const int8_t *w = (const int8_t *)weights->data + 9 * oc;
            if (weights->decoder != NULL) {
                weights->decoder->decode(weights, NULL, 9 * oc, 9, tile);
                w = tile;
            }
            for (uint32_t k = 0; k < 9; k++) {
                channel.weights[k] = w[k];
            }
            channel.bias = ((const int32_t *)a->bias)[oc];
            channel.multiplier = a->multiplier[oc];
            channel.shift = a->shift[oc];
            channel.plane = plane;
            channel.out = out + oc;
            channel.rows = a->out_h / 2;
            channel.out_second = rows * a->out_w * a->out_c;
            if (channel.rows != 0) {
                ef_swar_3x3_run(&channel);
            }
            if (a->out_h % 2 != 0) {
                /* the middle row has no partner */
                channel.plane += (uint32_t)channel.rows * a->stride_h * pitch;
                channel.out += channel.rows * a->out_w * a->out_c;
                channel.rows = 1;
                channel.out_second = 0;
                ef_swar_3x3_run(&channel);
            }
        }
    }
}

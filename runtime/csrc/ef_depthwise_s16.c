#include "ef_attributes.h"
#include "ef_conv2d_s16.h"
#include "ef_inside.h"
#include "ef_wide.h"

/* The taps of a window that lie inside the map, and how to go over them. */
typedef struct window {
    int32_t lines, columns;
    int32_t step;        /* elements of the map from tap to tap */
    int32_t line_step;   /* from the end of a line of taps to the next one */
    int32_t weight_step; /* the same in the weights */
} window;

static EF_OUT_OF_LINE int32_t accumulate(const window *w, const int16_t *in, const int8_t *weight,
                                         int32_t acc)
{
    const int32_t step = w->step;
    for (int32_t lines = w->lines; lines > 0; lines--) {
        for (int32_t columns = w->columns; columns > 0; columns--) {
            acc += *weight++ * *in;
            in += step;
        }
        in += w->line_step;
        weight += w->weight_step;
    }
    return acc;
}

void ef_depthwise_s16(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out, void *scratch)
{
    const int32_t row = a->in_w * a->in_c;
    const int32_t taps = a->kernel_h * a->kernel_w;
    const int32_t per_input = a->out_c / a->in_c;
    window w;
    (void)scratch;
    w.step = a->dilation_w * a->in_c;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const ef_inside rows =
            ef_inside_of(oy * a->stride_h - a->pad_top, a->dilation_h, a->kernel_h, a->in_h);
        w.lines = rows.end - rows.first;
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const ef_inside columns =
                ef_inside_of(ox * a->stride_w - a->pad_left, a->dilation_w, a->kernel_w, a->in_w);
            w.columns = columns.end - columns.first;
            w.line_step = a->dilation_h * row - w.columns * w.step;
            w.weight_step = a->kernel_w - w.columns;
            /* No tap is read where a window lies outside altogether. */
            const int16_t *from = in;
            const int8_t *weight = (const int8_t *)a->weights;
            if (w.lines > 0 && w.columns > 0) {
                from += (rows.start + rows.first * a->dilation_h) * row +
                        (columns.start + columns.first * a->dilation_w) * a->in_c;
                weight += rows.first * a->kernel_w + columns.first;
            }
            int32_t oc = 0;
            for (int32_t c = 0; c < a->in_c; c++) {
                for (int32_t end = oc + per_input; oc < end; oc++) {
                    const int32_t acc = accumulate(&w, from, weight, a->bias[oc]);
                    const int32_t scaled = ef_scale_sum(acc, a->multiplier[oc], a->shift[oc]);
                    *out++ = ef_clamp_s16(scaled, a->clamp_min, a->clamp_max);
                    weight += taps;
                }
                from++;
            }
        }
    }
}

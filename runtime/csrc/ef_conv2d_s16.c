#include "ef_attributes.h"
#include "ef_conv2d_s16.h"
#include "ef_inside.h"
#include "ef_wide.h"

static EF_OUT_OF_LINE int32_t dot(const int8_t *weights, const int16_t *in, int32_t count,
                                  int32_t acc)
{
    for (; count >= 4; count -= 4) {
        acc += weights[0] * in[0];
        acc += weights[1] * in[1];
        acc += weights[2] * in[2];
        acc += weights[3] * in[3];
        weights += 4;
        in += 4;
    }
    while (count-- > 0) {
        acc += *weights++ * *in++;
    }
    return acc;
}

static int32_t accumulate(const ef_conv2d_s16_args *a, const int16_t *in, const ef_inside *rows,
                          const ef_inside *columns, const int8_t *weights, int32_t acc)
{
    const int32_t depth = a->in_c / a->groups;
    const int32_t count = columns->end - columns->first;
    /* Taps side by side in the map are so in the weights. */
    const int32_t joined = a->groups == 1 && a->dilation_w == 1;
    const int32_t runs = count <= 0 ? 0 : joined ? 1 : count;
    const int32_t length = joined ? count * depth : depth;
    for (int32_t ky = rows->first; ky < rows->end; ky++) {
        const int32_t y = rows->start + ky * a->dilation_h;
        const int32_t x = columns->start + columns->first * a->dilation_w;
        const int16_t *from = in + (y * a->in_w + x) * a->in_c;
        const int8_t *weight = weights + (ky * a->kernel_w + columns->first) * depth;
        for (int32_t run = 0; run < runs; run++) {
            acc = dot(weight, from, length, acc);
            weight += length;
            from += a->dilation_w * a->in_c;
        }
    }
    return acc;
}

void ef_conv2d_s16(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out, void *scratch)
{
    const int32_t depth = a->in_c / a->groups;
    const int32_t filters = a->out_c / a->groups;
    const int32_t row = a->kernel_h * a->kernel_w * depth;
    (void)scratch;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const ef_inside rows =
            ef_inside_of(oy * a->stride_h - a->pad_top, a->dilation_h, a->kernel_h, a->in_h);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const ef_inside columns =
                ef_inside_of(ox * a->stride_w - a->pad_left, a->dilation_w, a->kernel_w, a->in_w);
            const int8_t *weights = (const int8_t *)a->weights;
            int32_t oc = 0;
            for (int32_t group = 0; group < a->groups; group++) {
                for (int32_t end = oc + filters; oc < end; oc++) {
                    const int32_t acc =
                        accumulate(a, in + group * depth, &rows, &columns, weights, a->bias[oc]);
                    const int32_t scaled = ef_scale_sum(acc, a->multiplier[oc], a->shift[oc]);
                    *out++ = ef_clamp_s16(scaled, a->clamp_min, a->clamp_max);
                    weights += row;
                }
            }
        }
    }
}

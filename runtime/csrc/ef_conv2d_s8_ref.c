#include "ef_channel.h"
#include "ef_conv2d.h"
#include "ef_huffman.h"
#include "ef_numerics.h"
#include "ef_sparse.h"

/* Any encoding, weights in OHWI order. */
static int32_t weight_at(const ef_weights *weights, int32_t channel, int32_t taps, int32_t tap)
{
    if (weights->gap_bits != 0) {
        return ef_sparse_value(weights, (uint32_t)channel, (uint32_t)tap);
    }
    return weights->width != 0 ? ef_weights_value(weights, (size_t)(channel * taps + tap))
                               : ef_huffman_value(weights, (uint32_t)(channel * taps + tap));
}

/* The sum of one output element: the definition of the operator. */
static int32_t accumulate(const ef_conv2d_args *a, const int8_t *in, int32_t oy, int32_t ox,
                          int32_t oc)
{
    const int32_t group_in_c = a->in_c / a->groups;
    const int32_t first_c = oc / (a->out_c / a->groups) * group_in_c;
    const int32_t taps = a->kernel_h * a->kernel_w * group_in_c;
    int32_t acc = ef_channel_of(a, (uint32_t)oc).bias;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const int32_t y = oy * a->stride_h + ky * a->dilation_h - a->pad_top;
            const int32_t x = ox * a->stride_w + kx * a->dilation_w - a->pad_left;
            const int inside = y >= 0 && y < a->in_h && x >= 0 && x < a->in_w;
            for (int32_t c = 0; c < group_in_c; c++) {
                const int32_t tap = (ky * a->kernel_w + kx) * group_in_c + c;
                const int32_t weight = weight_at(&a->weights, oc, taps, tap);
                const int32_t value = inside ? in[(y * a->in_w + x) * a->in_c + first_c + c]
                                             : a->in_zero_point;
                acc += weight * value;
            }
        }
    }
    return acc;
}

void ef_conv2d_s8_ref(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            for (int32_t oc = 0; oc < a->out_c; oc++) {
                const int32_t acc = accumulate(a, in, oy, ox, oc);
                const ef_channel c = ef_channel_of(a, (uint32_t)oc);
                const int32_t scaled = ef_requantize(acc, c.multiplier, c.shift);
                *out++ = ef_clamp_s8(scaled + a->out_zero_point, a->clamp_min, a->clamp_max);
            }
        }
    }
}

#include "ef_conv2d_s16.h"
#include "ef_wide.h"

/* The sum of one output element: the definition of the operator. */
static int64_t accumulate(const ef_conv2d_s16_args *a, const int16_t *in, int32_t oy, int32_t ox,
                          int32_t oc)
{
    const int32_t group_in_c = a->in_c / a->groups;
    const int32_t first_c = oc / (a->out_c / a->groups) * group_in_c;
    const int8_t *weight = (const int8_t *)a->weights + oc * a->kernel_h * a->kernel_w * group_in_c;
    int64_t acc = a->bias != NULL ? a->bias[oc] : a->long_bias[oc];
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const int32_t y = oy * a->stride_h + ky * a->dilation_h - a->pad_top;
            const int32_t x = ox * a->stride_w + kx * a->dilation_w - a->pad_left;
            if (y >= 0 && y < a->in_h && x >= 0 && x < a->in_w) {
                const int16_t *from = in + (y * a->in_w + x) * a->in_c + first_c;
                for (int32_t c = 0; c < group_in_c; c++) {
                    acc += weight[c] * from[c];
                }
            }
            weight += group_in_c;
        }
    }
    return acc;
}

void ef_conv2d_s16_ref(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            for (int32_t oc = 0; oc < a->out_c; oc++) {
                const int64_t acc = accumulate(a, in, oy, ox, oc);
                const int32_t scaled = ef_scale_wide(acc, a->multiplier[oc], a->shift[oc]);
                *out++ = ef_clamp_s16(scaled, a->clamp_min, a->clamp_max);
            }
        }
    }
}

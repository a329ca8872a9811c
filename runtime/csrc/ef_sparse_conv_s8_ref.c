#include "ef_numerics.h"
#include "ef_sparse_conv.h"

void ef_sparse_conv_s8_ref(const ef_sparse_conv_args *a, const int8_t *in, int8_t *out,
                           void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const uint8_t *entry = a->entries;
            for (int32_t oc = 0; oc < a->out_c; oc++) {
                int32_t acc = a->bias[oc];
                int32_t place = 0;
                for (uint32_t n = a->counts[oc]; n != 0; n--) {
                    place += entry[0];
                    const int32_t tap = place / a->in_c;
                    const int32_t y =
                        oy * a->stride_h - a->pad_top + tap / a->kernel_w * a->dilation_h;
                    const int32_t x =
                        ox * a->stride_w - a->pad_left + tap % a->kernel_w * a->dilation_w;
                    const int inside = y >= 0 && y < a->in_h && x >= 0 && x < a->in_w;
                    const int32_t value =
                        inside ? in[(y * a->in_w + x) * a->in_c + place % a->in_c]
                               : a->in_zero_point;
                    acc += value * (int8_t)entry[1];
                    entry += 2;
                }
                acc = ef_requantize(acc, a->multiplier[oc], a->shift[oc]) + a->out_zero_point;
                *out++ = ef_clamp_s8(acc, a->clamp_min, a->clamp_max);
            }
        }
    }
}

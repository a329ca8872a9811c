#include "ef_normalize.h"
#include "ef_numerics.h"
#include "ef_root.h"

static void normalize_group(const ef_normalize_args *a, const int8_t *in, uint32_t group,
                            int8_t *out)
{
    const uint32_t pitch = a->groups * a->inner;
    const int32_t count = (int32_t)(a->steps * a->inner);
    int32_t total = 0;
    int32_t v = a->epsilon;
    int32_t middle = a->zero_point;
    int32_t fraction = 0;
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            total += in[s * pitch + i];
        }
    }
    if (a->centered != 0) {
        middle = ef_requantize(total, a->mean_multiplier, a->mean_shift);
        const int32_t rest = total - count * middle;
        v -= ef_requantize(rest * rest, a->mean_multiplier, a->mean_shift);
        fraction = ef_requantize(rest, a->mean_multiplier, a->mean_shift + 7);
    }
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            const int32_t x = in[s * pitch + i] - middle;
            v += x * x;
        }
    }
    const int32_t root = ef_reciprocal_root(v);
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            const uint32_t channel = group * a->inner + i;
            const int32_t x = in[s * pitch + i] - middle;
            const int32_t product = (x * 128 - fraction) * root;
            int32_t unit = ef_requantize(product, a->unit_multiplier, a->unit_shift);
            unit = unit < INT16_MIN ? INT16_MIN : unit > INT16_MAX ? INT16_MAX : unit;
            const int32_t acc = unit * a->gain[channel] + a->offset[channel];
            const int32_t code = ef_requantize(acc, a->multiplier, a->shift) + a->out_zero_point;
            out[s * pitch + i] = ef_clamp_s8(code, INT8_MIN, INT8_MAX);
        }
    }
}

void ef_normalize_s8_ref(const ef_normalize_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t pitch = a->groups * a->inner;
    for (uint32_t o = 0; o < a->outer; o++) {
        for (uint32_t g = 0; g < a->groups; g++) {
            const uint32_t start = o * a->steps * pitch + g * a->inner;
            normalize_group(a, in + start, g, out + start);
        }
    }
}

#include "ef_attributes.h"
#include "ef_numerics.h"
#include "ef_requantize.h"
#include "ef_wide.h"

static EF_OUT_OF_LINE void any(const ef_requantize_args *a, const int8_t *in, int16_t *out)
{
    const int32_t zero_point = a->in_zero_point;
    const int32_t multiplier = a->multiplier;
    const int32_t shift = a->shift;
    const int32_t low = a->low;
    const int32_t high = a->high;
    for (int16_t *const end = out + a->count; out != end; out++) {
        *out = ef_clamp_s16(ef_requantize(*in++ - zero_point, multiplier, shift), low, high);
    }
}

void ef_requantize_s8_s16(const ef_requantize_args *a, const int8_t *in, int16_t *out)
{
    const int32_t multiplier = a->multiplier;
    const int32_t shift = a->shift;
    const int32_t zero = a->in_zero_point * ((int32_t)1 << (shift > 0 ? shift : 0));
    if (shift < 0 || a->high - a->low != 65535) {
        any(a, in, out);
        return;
    }
    int32_t left = a->count;
    for (; left >= 2; left -= 2) {
        const int32_t x0 = in[0];
        const int32_t x1 = in[1];
        out[0] = ef_saturate_s16(ef_high_product(x0 * (1 << shift) - zero, multiplier));
        out[1] = ef_saturate_s16(ef_high_product(x1 * (1 << shift) - zero, multiplier));
        in += 2;
        out += 2;
    }
    if (left != 0) {
        *out = ef_saturate_s16(ef_high_product(*in * (1 << shift) - zero, multiplier));
    }
}

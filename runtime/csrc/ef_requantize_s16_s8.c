#include "ef_attributes.h"
#include "ef_numerics.h"
#include "ef_requantize.h"
#include "ef_simd.h"

static EF_OUT_OF_LINE void any(const ef_requantize_args *a, const int16_t *in, int8_t *out)
{
    const int32_t zero_point = a->out_zero_point;
    const int32_t multiplier = a->multiplier;
    const int32_t shift = a->shift;
    const int32_t low = a->low;
    const int32_t high = a->high;
    for (int8_t *const end = out + a->count; out != end; out++) {
        *out = ef_clamp_s8(ef_requantize(*in++, multiplier, shift) + zero_point, low, high);
    }
}

void ef_requantize_s16_s8(const ef_requantize_args *a, const int16_t *in, int8_t *out)
{
#if EF_WORDS_PAY
    const int32_t multiplier = a->multiplier;
    const int32_t right = -a->shift;
    if (right < 1 || right > 22 || a->high - a->low != 255) {
        any(a, in, out);
        return;
    }
    const int32_t offset = (2 * a->out_zero_point + 1) * ((int32_t)1 << (right - 1));
    int32_t left = a->count;
    for (; left >= 4; left -= 4) {
        const int32_t x0 = in[0];
        const int32_t x1 = in[1];
        const int32_t x2 = in[2];
        const int32_t x3 = in[3];
        out[0] = (int8_t)ef_requantize_doubled(2 * x0, multiplier, offset, right);
        out[1] = (int8_t)ef_requantize_doubled(2 * x1, multiplier, offset, right);
        out[2] = (int8_t)ef_requantize_doubled(2 * x2, multiplier, offset, right);
        out[3] = (int8_t)ef_requantize_doubled(2 * x3, multiplier, offset, right);
        in += 4;
        out += 4;
    }
    for (; left > 0; left--) {
        *out++ = (int8_t)ef_requantize_doubled(2 * *in++, multiplier, offset, right);
    }
#else
    any(a, in, out);
#endif
}

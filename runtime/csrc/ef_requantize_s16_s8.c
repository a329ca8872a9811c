#include "ef_numerics.h"
#include "ef_requantize.h"

void ef_requantize_s16_s8(const ef_requantize_args *a, const int16_t *in, int8_t *out)
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

#include "ef_numerics.h"
#include "ef_requantize.h"
#include "ef_wide.h"

void ef_requantize_s8_s16(const ef_requantize_args *a, const int8_t *in, int16_t *out)
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

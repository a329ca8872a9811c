#include "ef_numerics.h"
#include "ef_prelu.h"

void ef_prelu_s8(const ef_prelu_args *a, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < a->rows; row++) {
        for (int32_t c = 0; c < a->channels; c++) {
            const int32_t x = *in++ - a->in_zero_point;
            int32_t scaled;
            if (x >= 0) {
                scaled = ef_requantize(x, a->positive_multiplier, a->positive_shift);
            } else {
                scaled = ef_requantize(x * (a->slopes[c] - a->slope_zero_point),
                                       a->negative_multiplier, a->negative_shift);
            }
            *out++ = ef_clamp_s8(scaled + a->out_zero_point, INT8_MIN, INT8_MAX);
        }
    }
}

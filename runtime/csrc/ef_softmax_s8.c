#include "ef_fixed_point.h"
#include "ef_softmax.h"

void ef_softmax_s8(const ef_softmax_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    int32_t *powers = (int32_t *)scratch;
    const int32_t depth = a->depth;
    for (int32_t row = 0; row < a->rows; row++) {
        const int32_t largest = ef_row_maximum(in, depth);
        int32_t sum = 0; /* 12 integer bits */
        for (int32_t i = 0; i < depth; i++) {
            const int32_t difference = in[i] - largest;
            powers[i] = 0;
            if (difference >= a->lowest) {
                powers[i] = ef_exp_on_negative(ef_fixed_scale(difference, a->multiplier, a->shift));
                sum += ef_fixed_divide(powers[i], 12);
            }
        }
        const int32_t zeros = ef_leading_zeros((uint32_t)sum);
        const int32_t inverse =
            ef_one_over_one_plus((int32_t)(((uint32_t)sum << zeros) & 0x7FFFFFFFu));
        const int32_t right = 12 - zeros + 31 - 8;
        for (int32_t i = 0; i < depth; i++) {
            /* Beyond 31 every probability is below half a code. */
            const int32_t code = right > 31 ? 0 : ef_fixed_divide(ef_fixed_multiply(powers[i], inverse), right);
            out[i] = ef_clamp_s8(code - 128, INT8_MIN, INT8_MAX);
        }
        in += depth;
        out += depth;
    }
}

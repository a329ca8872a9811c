#include "ef_fixed_point.h"
#include "ef_softmax.h"

/* log(x) for x >= 1 with 12 integer bits; the result has 5. Powers of two have 6 while they are
 * summed, so that they cannot saturate. */
static int32_t log_of_sum(int32_t x)
{
    const int32_t log_2 = 1488522236;
    const int32_t half_root = 1518500250; /* 2^(-1/2) */
    const int32_t centre = 1805811301;    /* 2^(-1/4) */
    const int32_t quarter = 1 << 23;

    const int32_t zeros = ef_leading_zeros((uint32_t)x);
    const int32_t widened = (int32_t)((uint32_t)x << (zeros - 1));
    const int32_t upper = ef_shift_left_saturating(ef_fixed_multiply(widened, half_root), 1);
    const int32_t upper_power = (12 - zeros) * (1 << 25) + quarter;
    const int32_t headroom = ef_leading_zeros((uint32_t)ef_fixed_multiply(x, half_root)) - 1;
    const int32_t lower = ef_shift_left_saturating(x, headroom);
    const int32_t lower_power = (12 - headroom) * (1 << 25) - quarter;
    const int32_t r = upper < lower ? upper : lower;
    const int32_t power = upper_power > lower_power ? upper_power : lower_power;

    const int32_t p = (int32_t)(((uint32_t)r + (uint32_t)centre + 1u) >> 1);
    const int32_t q = 2 * (r - centre);
    const int32_t square = ef_fixed_multiply(q, q);
    const int32_t numerator = ef_fixed_multiply(q, r) + ef_fixed_multiply(ef_fixed_multiply(q, square), 117049297);
    const int32_t inner = 1057819769 + q + ef_fixed_multiply(square, 127690142);
    const int32_t denominator = ef_fixed_multiply(p, inner) + ef_fixed_multiply(q, 638450708);
    const int32_t scaled = ef_fixed_divide(numerator, 6);
    return ef_shift_left_saturating(
        ef_fixed_multiply(power, log_2) + ef_fixed_multiply(scaled, ef_one_over_one_plus(denominator)), 1);
}

void ef_log_softmax_s8(const ef_log_softmax_args *a, const int8_t *in, int8_t *out)
{
    const int32_t depth = a->depth;
    for (int32_t row = 0; row < a->rows; row++) {
        const int32_t largest = ef_row_maximum(in, depth);
        int32_t sum = 0; /* 12 integer bits */
        for (int32_t i = 0; i < depth; i++) {
            const int32_t difference = in[i] - largest;
            if (difference >= a->lowest) {
                const int32_t scaled = ef_fixed_scale(difference, a->multiplier, a->shift);
                sum += ef_fixed_divide(ef_exp_on_negative(scaled), 12);
            }
        }
        const int32_t log_sum = log_of_sum(sum);
        int32_t lowest =
            ef_requantize(log_sum + INT32_MIN, a->inverse_multiplier, a->inverse_shift);
        if (lowest < a->lowest - 1) {
            lowest = a->lowest - 1;
        }
        for (int32_t i = 0; i < depth; i++) {
            const int32_t difference = in[i] - largest;
            int32_t code = INT8_MIN;
            if (difference > lowest) {
                const int32_t scaled = ef_fixed_scale(difference, a->multiplier, a->shift);
                code = ef_fixed_divide(scaled - log_sum, 22) + 127; /* 26 -> 4 fractional bits */
            }
            out[i] = ef_clamp_s8(code, INT8_MIN, INT8_MAX);
        }
        in += depth;
        out += depth;
    }
}

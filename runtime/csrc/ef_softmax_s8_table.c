#include "ef_fixed_point.h"
#include "ef_softmax.h"

#define CODES 256

/* x / 2^bits for x >= 0 and bits in 1..31, halves up. */
static inline int32_t divide(int32_t x, int32_t bits)
{
    return ((x >> (bits - 1)) + 1) >> 1;
}

void ef_softmax_s8_table(const ef_softmax_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    int32_t *powers = (int32_t *)scratch; /* by the distance to the largest code of a row */
    const int32_t depth = a->depth;
    for (int32_t i = 0; i < CODES; i++) {
        powers[i] = 0;
        if (-i >= a->lowest) {
            powers[i] = ef_exp_on_negative(ef_fixed_scale(-i, a->multiplier, a->shift));
        }
    }
    for (int32_t row = 0; row < a->rows; row++) {
        const int32_t *const of_largest = powers + ef_row_maximum(in, depth);
        const int8_t *const end = in + depth;
        int32_t sum = 0; /* 12 integer bits */
        for (const int8_t *x = in; x != end; x++) {
            sum += divide(of_largest[-*x], 12);
        }
        const int32_t zeros = ef_leading_zeros((uint32_t)sum);
        const int32_t inverse =
            ef_one_over_one_plus((int32_t)(((uint32_t)sum << zeros) & 0x7FFFFFFFu));
        const int32_t right = 12 - zeros + 31 - 8;
        while (in != end) {
            const int32_t power = of_largest[-*in++];
            /* Beyond 31 every probability is below half a code. */
            const int32_t code = right > 31 ? 0 : divide(ef_high_product(power, inverse), right);
            *out++ = (int8_t)(code > 255 ? 127 : code - 128);
        }
    }
}

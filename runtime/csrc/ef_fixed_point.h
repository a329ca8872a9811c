/* Exponential and reciprocal in 32-bit fixed point; export/functions/fixed_point.py is the twin in Python and
 * says where the definitions come from. A value with k integer bits stands for raw / 2^(31 - k). */
#ifndef EF_FIXED_POINT_H
#define EF_FIXED_POINT_H

#include <stdint.h>

#include "ef_attributes.h"
#include "ef_numerics.h"

/* A network has one softmax of few values: shared copies of these two save more flash than calls
 * cost time. */
static EF_OUT_OF_LINE int32_t ef_fixed_multiply(int32_t a, int32_t b)
{
    return ef_srdhm(a, b);
}

static EF_OUT_OF_LINE int32_t ef_fixed_divide(int32_t x, int32_t exponent)
{
    return ef_rdbpot(x, exponent);
}

/* ef_requantize for shifts to the left. */
static inline int32_t ef_fixed_scale(int32_t x, int32_t multiplier, int32_t shift)
{
    return ef_fixed_multiply((int32_t)((uint32_t)x << shift), multiplier);
}

/* x * 2^bits, saturated. */
static inline int32_t ef_shift_left_saturating(int32_t x, int32_t bits)
{
    const int32_t limit = INT32_MAX >> bits;
    if (x > limit) {
        return INT32_MAX;
    }
    return x < -limit - 1 ? INT32_MIN : (int32_t)((uint32_t)x << bits);
}

/* Zero bits above the highest set bit; x > 0. */
static inline int32_t ef_leading_zeros(uint32_t x)
{
#if defined(__GNUC__)
    return __builtin_clz(x);
#else
    int32_t zeros = 0;
    for (; (x & 0x80000000u) == 0u; x <<= 1) {
        zeros++;
    }
    return zeros;
#endif
}

/* exp(a) for a <= 0 with 5 integer bits; the result has none. */
static inline int32_t ef_exp_on_negative(int32_t a)
{
    /* exp(-2^e) for e from -2 to 4. */
    static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};
    const int32_t centre = 1895147668; /* exp(-1/8) */
    const int32_t third = 715827883;
    const int32_t quarter = 1 << 24;
    if (a == 0) {
        return INT32_MAX;
    }
    const int32_t below = (a & (quarter - 1)) - quarter; /* in [-1/4, 0) */
    const int32_t x = below * 32 + (1 << 28);            /* around -1/8, no integer bits */
    const int32_t x2 = ef_fixed_multiply(x, x);
    const int32_t x3 = ef_fixed_multiply(x2, x);
    const int32_t x4_over_4 = ef_fixed_divide(ef_fixed_multiply(x2, x2), 2);
    const int32_t tail = ef_fixed_divide(ef_fixed_multiply(x4_over_4 + x3, third) + x2, 1);
    int32_t result = centre + ef_fixed_multiply(x + tail, centre);
    int32_t remainder = (below - a) >> 24; /* in quarters */
    for (const int32_t *power = powers; remainder != 0; power++) {
        if ((remainder & 1) != 0) {
            result = ef_fixed_multiply(result, *power);
        }
        remainder >>= 1;
    }
    return result;
}

/* 1 / (1 + a) for a in [0, 1]; neither has integer bits. Newton-Raphson, 2 integer bits inside. */
static inline int32_t ef_one_over_one_plus(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
    int32_t x = 1515870810 + ef_fixed_multiply(half_denominator, -1010580540); /* 48/17 - 32/17 d */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - ef_fixed_multiply(half_denominator, x);
        x += ef_shift_left_saturating(ef_fixed_multiply(x, error), 2);
    }
    return ef_shift_left_saturating(x, 1);
}

#endif

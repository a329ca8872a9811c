/* The integer arithmetic of the int8 Graph: gemmlowp double rounding.
 *
 * out = clamp(zero_point + MBQM(acc, multiplier, shift)), where MBQM is a saturating rounding
 * doubling high multiply (ef_srdhm) followed by a rounding right shift (ef_rdbpot). This header is
 * the only place in C where rounding is spelt out; export/numerics.py is its twin in Python.
 */
#ifndef EF_NUMERICS_H
#define EF_NUMERICS_H

#include <stdint.h>

/* floor((a * b + 2^30) / 2^31), not both INT32_MIN. */
static inline int32_t ef_high_product(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__)
    /* No 32 x 32 -> 64 multiply here: three partial products, and one for the low halves. */
    const uint32_t a_low = (uint32_t)a & 0xFFFFu;
    const uint32_t b_low = (uint32_t)b & 0xFFFFu;
    const int32_t a_high = a >> 16;
    const int32_t b_high = b >> 16;
    const uint32_t low = a_low * b_low;
    const int32_t middle_a = a_high * (int32_t)b_low + (int32_t)(low >> 16);
    const int32_t middle_b = (int32_t)a_low * b_high + (int32_t)((uint32_t)middle_a & 0xFFFFu);
    const int32_t high = a_high * b_high + (middle_a >> 16) + (middle_b >> 16);
    /* bit 31 of the product comes below `high`; 2^30 carries into it if bit 30 is set */
    const uint32_t rounded = (((uint32_t)middle_b & 0xFFFFu) + 0x4000u) >> 15;
    return (int32_t)(((uint32_t)high << 1) + rounded);
#else
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
#endif
}

/* ef_high_product, saturated for a == b == INT32_MIN. */
static inline int32_t ef_srdhm(int32_t a, int32_t b)
{
    return a == INT32_MIN && b == INT32_MIN ? INT32_MAX : ef_high_product(a, b);
}

/* x / 2^exponent, halves rounded away from zero. exponent in [0, 31]. */
static inline int32_t ef_rdbpot(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1u);
    const int32_t remainder = x & mask;
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/* MultiplyByQuantizedMultiplier: shift > 0 is to the left and before the multiply, shift < 0 to
 * the right and after it. multiplier in [2^30, 2^31) or 0; shift in [-31, 30]; the exporter proves
 * that acc << shift does not overflow. */
static inline int32_t ef_requantize(int32_t acc, int32_t multiplier, int32_t shift)
{
    if (shift >= 0) {
        return ef_high_product((int32_t)((uint32_t)acc << shift), multiplier);
    }
    /* One less if negative, so that halves go away from zero; then the last bit shifted out rounds.
     * The product is above INT32_MIN, because the multiplier is below 2^31. */
    const int32_t product = ef_high_product(acc, multiplier);
    const int32_t toward = product + (product >> 31);
    const int32_t half = toward >> (-shift - 1);
    return (half >> 1) + (half & 1);
}

static inline int8_t ef_clamp_s8(int32_t value, int32_t low, int32_t high)
{
    if (value < low) {
        return (int8_t)low;
    }
    return (int8_t)(value > high ? high : value);
}

#endif

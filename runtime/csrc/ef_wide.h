/* Arithmetic of 16-bit activations: zero point 0, saturation to int16. */
#ifndef EF_WIDE_H
#define EF_WIDE_H

#include <stdint.h>

/* A word: as int16_t it would be extended once more. */
static inline int32_t ef_saturate_word_s16(int32_t value)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value) : "cc");
    return result;
#else
    if ((uint32_t)value + 32768u > 65535u) {
        value = (value >> 31) ^ 32767;
    }
    return value;
#endif
}

static inline int16_t ef_saturate_s16(int32_t value)
{
    return (int16_t)ef_saturate_word_s16(value);
}

/* round(acc * multiplier / 2^shift), halves up; |acc| < 2^47, multiplier in [0, 2^15), shift in
 * 8..46. The exporter proves that the result fits. */
static inline int32_t ef_scale_wide(int64_t acc, int32_t multiplier, int32_t shift)
{
    return (int32_t)((acc * multiplier + ((int64_t)1 << (shift - 1))) >> shift);
}

/* ef_scale_wide of a sum of 32 bits and a shift in 17..46, without a product of 64 bits. */
static inline int32_t ef_scale_sum(int32_t sum, int32_t multiplier, int32_t shift)
{
    const int32_t high = (sum >> 16) * multiplier;
    const uint32_t low = ((uint32_t)sum & 0xFFFFu) * (uint32_t)multiplier;
    return (((high + (int32_t)(low >> 16)) >> (shift - 17)) + 1) >> 1;
}

static inline int16_t ef_clamp_s16(int32_t value, int32_t low, int32_t high)
{
    if (value < low) {
        return (int16_t)low;
    }
    return (int16_t)(value > high ? high : value);
}

#endif

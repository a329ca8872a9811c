/* Saturation to int8: one instruction where there is one, one test where nothing is out of range. */
#ifndef EF_SATURATE_H
#define EF_SATURATE_H

#include <stdint.h>

static inline int8_t ef_saturate_s8(int32_t value)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return (int8_t)result;
#else
    if ((uint32_t)value + 128u > 255u) {
        value = (value >> 31) ^ 127;
    }
    return (int8_t)value;
#endif
}

/* The rest of a fused activation, after saturation: only where the zero point of the result is not
 * the lowest code or its range is not that of the activation, which is rare. */
static inline void ef_clamp_row_s8(int8_t *row, int32_t count, int32_t low, int32_t high)
{
    if (low > INT8_MIN || high < INT8_MAX) {
        for (int8_t *end = row + count; row != end; row++) {
            if (*row < low) {
                *row = (int8_t)low;
            }
            if (*row > high) {
                *row = (int8_t)high;
            }
        }
    }
}

#endif

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

#endif

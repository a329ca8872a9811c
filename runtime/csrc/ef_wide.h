/* Arithmetic of 16-bit activations: zero point 0, saturation to int16. */
#ifndef EF_WIDE_H
#define EF_WIDE_H

#include <stdint.h>

static inline int16_t ef_saturate_s16(int32_t value)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value));
    return (int16_t)result;
#else
    if ((uint32_t)value + 32768u > 65535u) {
        value = (value >> 31) ^ 32767;
    }
    return (int16_t)value;
#endif
}

#endif

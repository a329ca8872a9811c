/* The same real values at another scale or in another width, where 8-bit and 16-bit tensors meet.
 *
 * out = clamp(out_zero_point + requantize(in - in_zero_point), low, high); int16 has zero point 0. `out` may
 * be `in` unless its elements are wider. */
#ifndef EF_REQUANTIZE_H
#define EF_REQUANTIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_requantize_args {
    int32_t count;
    int32_t in_zero_point;
    int32_t out_zero_point;
    int32_t multiplier;
    int32_t shift; /* as ef_requantize takes it */
    int32_t low;
    int32_t high;
} ef_requantize_args;

void ef_requantize_s8_s16(const ef_requantize_args *a, const int8_t *in, int16_t *out);
void ef_requantize_s16_s8(const ef_requantize_args *a, const int16_t *in, int8_t *out);
void ef_requantize_s16(const ef_requantize_args *a, const int16_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

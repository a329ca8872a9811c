/* Elementwise products of int8 or int16 tensors. `out` may be an operand of its own size.
 *
 * out = clamp(out_zero_point + requantize((x1 - zero_point1) * (x2 - zero_point2)), low, high). */
#ifndef EF_MUL_H
#define EF_MUL_H

#include <stdint.h>

#include "ef_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_mul_args {
    ef_broadcast broadcast;
    int32_t zero_point1;
    int32_t zero_point2;
    int32_t out_zero_point;
    int32_t multiplier;
    int32_t shift; /* as ef_requantize takes it */
    int32_t low;
    int32_t high;
} ef_mul_args;

/* Any shift up to 14. */
void ef_mul_s8_ref(const ef_mul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out);

/* The same for shifts of -1 to -22. */
void ef_mul_s8(const ef_mul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out);

/* On int16, any shift; all zero points are 0. The broadcast counts bytes. */
void ef_mul_s16(const ef_mul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out);

/* The same for a multiplier of 2^30 and shifts of -31 to -1. */
void ef_mul_shifted_s16(const ef_mul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

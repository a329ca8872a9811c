/* Elementwise sums and differences of int8 or int16 tensors. `out` may be an operand of its own size. */
#ifndef EF_ADD_H
#define EF_ADD_H

#include <stdint.h>

#include "ef_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out = clamp((multiplier1 * x1 + multiplier2 * x2 + offset) >> shift, low, high), the sum modulo
 * 2^32. The exporter has tried all 65,536 pairs of codes against the definition below. */
typedef struct ef_add_form {
    int32_t multiplier1;
    int32_t multiplier2;
    int32_t offset; /* zero points and rounding included */
    int32_t shift;  /* 0..30 */
    int32_t low;
    int32_t high;
} ef_add_form;

typedef struct ef_add_args {
    ef_add_form form;
    int32_t count;
} ef_add_args;

/* Two operands of the same shape. */
void ef_add_s8(const ef_add_args *a, const int8_t *in1, const int8_t *in2, int8_t *out);

typedef struct ef_add_broadcast_args {
    ef_broadcast broadcast;
    ef_add_form form;
} ef_add_broadcast_args;

void ef_add_broadcast_s8(const ef_add_broadcast_args *a, const int8_t *in1, const int8_t *in2,
                         int8_t *out);

/* The definition: both operands, widened by 20 bits, are scaled, added (sign 1) or subtracted
 * (sign -1), and scaled to the output. Shifts as ef_requantize takes them; shift1, shift2 <= 0. */
typedef struct ef_add_rescaled_args {
    ef_broadcast broadcast;
    int32_t zero_point1;
    int32_t zero_point2;
    int32_t out_zero_point;
    int32_t multiplier1;
    int32_t shift1;
    int32_t multiplier2;
    int32_t shift2;
    int32_t sign;
    int32_t multiplier;
    int32_t shift;
    int32_t low;
    int32_t high;
} ef_add_rescaled_args;

void ef_add_rescaled_s8(const ef_add_rescaled_args *a, const int8_t *in1, const int8_t *in2,
                        int8_t *out);

/* On int16 at scales that are powers of two: the definition where rescaling an operand loses no
 * bit, which makes it a factor of 2^0 to 2^14 (negative for what is subtracted), and the last
 * scaling, by 2^-(shift + 1), is a half rounded up and a rounding right shift of 1..31. The
 * broadcast counts bytes. */
typedef struct ef_add_shifted_args {
    ef_broadcast broadcast;
    int32_t factor1;
    int32_t factor2;
    int32_t shift;
    int32_t low;
    int32_t high;
} ef_add_shifted_args;

void ef_add_s16(const ef_add_shifted_args *a, const int16_t *in1, const int16_t *in2,
                int16_t *out);

/* The definition on int16, widened by 15 bits; all zero points are 0. The broadcast counts bytes. */
void ef_add_rescaled_s16(const ef_add_rescaled_args *a, const int16_t *in1, const int16_t *in2,
                         int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

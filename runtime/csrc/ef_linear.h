/* Elementwise linear function of int8 codes in 32 bits.
 *
 * out = clamp((multiplier * x + offset) >> shift, -128, 127), the sum modulo 2^32. The exporter has
 * tried all 256 codes against the definition of the operator. `out` may be `in`.
 */
#ifndef EF_LINEAR_H
#define EF_LINEAR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_linear_args {
    int32_t count;
    int32_t multiplier;
    int32_t offset; /* zero points and rounding included */
    int32_t shift;  /* 0..30 */
} ef_linear_args;

void ef_linear_s8(const ef_linear_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

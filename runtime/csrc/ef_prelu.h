/* PReLU on int8 rows of channels: positive values are rescaled, negative ones also multiplied by
 * the slope of their channel. Shifts as ef_requantize takes them. `out` may be `in`. */
#ifndef EF_PRELU_H
#define EF_PRELU_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_prelu_args {
    int32_t rows;
    int32_t channels;
    const int8_t *slopes; /* one a channel */
    int32_t in_zero_point;
    int32_t slope_zero_point;
    int32_t out_zero_point;
    int32_t positive_multiplier;
    int32_t positive_shift;
    int32_t negative_multiplier;
    int32_t negative_shift;
} ef_prelu_args;

void ef_prelu_s8(const ef_prelu_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

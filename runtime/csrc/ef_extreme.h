/* Larger or smaller of two int8 tensors of one scale. `out` may be an operand of its own size. */
#ifndef EF_EXTREME_H
#define EF_EXTREME_H

#include <stdint.h>

#include "ef_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_extreme_args {
    ef_broadcast broadcast;
    int32_t flip; /* 0: the larger one; -1: the smaller one, as ~max(~a, ~b) */
} ef_extreme_args;

void ef_extreme_s8(const ef_extreme_args *a, const int8_t *in1, const int8_t *in2, int8_t *out);

/* On int16; the broadcast counts bytes. */
void ef_extreme_s16(const ef_extreme_args *a, const int16_t *in1, const int16_t *in2, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

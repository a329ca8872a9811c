/* A fused activation, for kernels whose requantization saturates to int8 only. */
#ifndef EF_CLAMP_OUTPUTS_H
#define EF_CLAMP_OUTPUTS_H

#include <stdint.h>

#include "ef_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Clamps `count` outputs; none if the range is int8's. */
void ef_clamp_outputs(const ef_conv2d_args *a, int8_t *out, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif

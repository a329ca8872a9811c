/* The reciprocal square root of the normalizations, in integers. */
#ifndef EF_ROOT_H
#define EF_ROOT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* floor(2^22 * (1 / sqrt(v))) where v, its root and the root's reciprocal are each rounded to IEEE
 * single precision, as a processor with floating point computes (int32_t)(0x1p22f * (1.0f /
 * sqrtf((float)v))). v is 1 or more. */
int32_t ef_reciprocal_root(int32_t v);

#ifdef __cplusplus
}
#endif

#endif

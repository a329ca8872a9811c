/* The reciprocal square roots of the normalizations, in integers. */
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

/* v rounded to 24 significant bits, halves to even. v is below 2^63. */
uint64_t ef_round_single(uint64_t v);

/* floor(2^bits * (1 / sqrt(v))), rounded on the way like ef_reciprocal_root. v is 1 or more, the
 * result below 2^31. */
int32_t ef_reciprocal_root_wide(uint64_t v, int32_t bits);

#ifdef __cplusplus
}
#endif

#endif

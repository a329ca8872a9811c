/* Layer, RMS, group and instance norm of int16 tensors; export/functions/wide_normalization.py has
 * the definition. */
#ifndef EF_NORMALIZE_S16_H
#define EF_NORMALIZE_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The tensor is [outer][steps][groups][inner]; a group is normalized over steps and inner, at most
 * 2^15 codes. */
typedef struct ef_normalize_s16_args {
    const int16_t *gain;   /* [groups * inner] */
    const int32_t *offset; /* [groups * inner] */
    uint32_t outer, steps, groups, inner;
    int32_t centered;    /* whether the mean is subtracted */
    int32_t least;       /* smallest divisor of 2^16, 1 or more */
    int32_t square_bits; /* bits of a scaled magnitude that is squared, at most 15 */
    int32_t root_bits;   /* behind the binary point of a reciprocal root, before it is halved */
    int32_t epsilon_multiplier, epsilon_shift; /* factor of a group -> epsilon's root */
    int32_t epsilon_bits;                      /* which is in units of 2^epsilon_bits */
    int32_t mean_multiplier, mean_shift; /* of a division by the number of codes in a group */
    int32_t unit_multiplier, unit_shift; /* product -> normalized value, within int16 */
    int32_t multiplier, shift;           /* normalized value times gain -> output */
} ef_normalize_s16_args;

/* Plain twin of the other; any shift. */
void ef_normalize_s16_ref(const ef_normalize_s16_args *a, const int16_t *in, int16_t *out);

/* unit_shift and shift of -22 to -1. `out` may be `in`. */
void ef_normalize_s16(const ef_normalize_s16_args *a, const int16_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

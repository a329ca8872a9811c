/* Layer, RMS, group and instance norm of int8 tensors; export/functions/normalization.py has the
 * definition. */
#ifndef EF_NORMALIZE_H
#define EF_NORMALIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The tensor is [outer][steps][groups][inner]; a group is normalized over steps and inner, at most
 * 2^15 codes. */
typedef struct ef_normalize_args {
    const int16_t *gain;   /* [groups * inner] */
    const int32_t *offset; /* [groups * inner] */
    uint32_t outer, steps, groups, inner;
    int32_t centered;   /* whether the mean is subtracted; else the zero point is */
    int32_t zero_point;
    int32_t epsilon;    /* 1 or more */
    int32_t mean_multiplier, mean_shift; /* of a division by the number of codes in a group */
    int32_t unit_multiplier, unit_shift; /* product -> normalized value, within int16 */
    int32_t multiplier, shift;           /* normalized value times gain -> output */
    int32_t out_zero_point;
} ef_normalize_args;

/* Plain twin of the other; any shift. */
void ef_normalize_s8_ref(const ef_normalize_args *a, const int8_t *in, int8_t *out);

/* Shifts of -22 to -1. `out` may be `in`. */
void ef_normalize_s8(const ef_normalize_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

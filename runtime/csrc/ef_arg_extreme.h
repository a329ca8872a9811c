/* Where the largest or smallest value along one axis is; the first one of equal values. */
#ifndef EF_ARG_EXTREME_H
#define EF_ARG_EXTREME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer, axis, inner], the output [outer, inner]: the index less `offset`. `out` must
 * not overlap `in`. */
typedef struct ef_arg_extreme_args {
    int32_t outer;
    int32_t axis; /* 1..256, or more with 16 bits */
    int32_t inner;
    int32_t flip; /* 0: the largest; -1: the smallest, as the largest of ~x */
    int32_t offset;
} ef_arg_extreme_args;

/* The index along the axis that begins at `value`. */
static inline int32_t ef_arg_extreme_index(const ef_arg_extreme_args *a, const int8_t *value)
{
    int32_t best = *value ^ a->flip;
    int32_t found = 0;
    for (int32_t index = 1; index < a->axis; index++) {
        value += a->inner;
        if ((*value ^ a->flip) > best) {
            best = *value ^ a->flip;
            found = index;
        }
    }
    return found;
}

void ef_arg_extreme_s8(const ef_arg_extreme_args *a, const int8_t *in, int8_t *out);

/* The same for axes of up to 2^15 elements. */
void ef_arg_extreme_s8_s16(const ef_arg_extreme_args *a, const int8_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

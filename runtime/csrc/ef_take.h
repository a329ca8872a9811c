/* Chosen elements along one axis: gathers with constant indices, repeats, mirrored edges. */
#ifndef EF_TAKE_H
#define EF_TAKE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer, axis, block]; the output is [outer, count, block], of which block i is the
 * input's block indices[i]. `out` must not overlap `in`. */
typedef struct ef_take_args {
    uint32_t outer;
    uint32_t axis_bytes; /* of the input: axis * block */
    uint32_t count;
    uint32_t block;
    const uint16_t *indices;
} ef_take_args;

void ef_take_s8(const ef_take_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

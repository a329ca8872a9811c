/* Comparison of two int8 tensors of one scale: 1 where it holds, 0 elsewhere. `out` may be an
 * operand of its own size. */
#ifndef EF_COMPARE_H
#define EF_COMPARE_H

#include <stdint.h>

#include "ef_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_COMPARE_LESS 1
#define EF_COMPARE_EQUAL 2
#define EF_COMPARE_GREATER 4

typedef struct ef_compare_args {
    ef_broadcast broadcast;
    int32_t accepted; /* the sum of those that hold */
} ef_compare_args;

void ef_compare_s8(const ef_compare_args *a, const int8_t *in1, const int8_t *in2, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

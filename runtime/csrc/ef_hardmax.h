/* 1 where the largest value of a row is, the first one of equal values, and 0 elsewhere. */
#ifndef EF_HARDMAX_H
#define EF_HARDMAX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `out` may be `in`. */
typedef struct ef_hardmax_args {
    int32_t rows;
    int32_t columns; /* 1 or more */
} ef_hardmax_args;

void ef_hardmax_s8(const ef_hardmax_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

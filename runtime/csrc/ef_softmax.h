/* Softmax and log-softmax of int8 rows; see export/ops/softmax.py for the definition. */
#ifndef EF_SOFTMAX_H
#define EF_SOFTMAX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_softmax_args {
    int32_t rows;
    int32_t depth;
    int32_t multiplier; /* a difference of codes -> fixed point with 5 integer bits */
    int32_t shift;      /* as ef_requantize takes it */
    int32_t lowest;     /* smaller differences count as probability 0 */
} ef_softmax_args;

/* Output at scale 1/256, zero point -128. scratch: depth int32. `out` may be `in`. */
void ef_softmax_s8(const ef_softmax_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same for many elements: exponentials are taken once. scratch: 256 int32. */
void ef_softmax_s8_table(const ef_softmax_args *a, const int8_t *in, int8_t *out, void *scratch);

typedef struct ef_log_softmax_args {
    int32_t rows;
    int32_t depth;
    int32_t multiplier;
    int32_t shift;
    int32_t lowest;
    int32_t inverse_multiplier; /* fixed point with 5 integer bits -> a difference of codes */
    int32_t inverse_shift;
} ef_log_softmax_args;

/* Output at scale 16/256, zero point 127. `out` may be `in`. */
void ef_log_softmax_s8(const ef_log_softmax_args *a, const int8_t *in, int8_t *out);

/* The largest code of a row. */
static inline int32_t ef_row_maximum(const int8_t *row, int32_t depth)
{
    int32_t largest = row[0];
    for (int32_t i = 1; i < depth; i++) {
        if (row[i] > largest) {
            largest = row[i];
        }
    }
    return largest;
}

#ifdef __cplusplus
}
#endif

#endif

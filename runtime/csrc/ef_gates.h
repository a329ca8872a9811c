/* The sigmoid and the hyperbolic tangent of 16-bit values, as TFLite's LOGISTIC and TANH on int16
 * compute them: a table of 256 knots with straight lines between. Results are in units of 2^-15.
 * export/functions/gates16.py is the twin in Python.
 */
#ifndef EF_GATES_H
#define EF_GATES_H

#include <stdint.h>

#include "ef_wide.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How an input becomes steps along the table: (value * multiplier + half) >> shift. The exporter
 * proves that the product stays within 32 bits. */
typedef struct ef_curve {
    int32_t multiplier;
    int32_t shift; /* 0..31 */
} ef_curve;

/* 2^16 * sigmoid(k / 24), in the middle between what chords and tangents miss. */
extern const uint16_t ef_gates_knots[256];

int32_t ef_gates_logistic(const ef_curve *curve, int32_t value);
int32_t ef_gates_tanh(const ef_curve *curve, int32_t value);

/* first * second / 2^bits as MUL on int16 rounds and saturates it. bits in 2..31. */
int32_t ef_gates_product(int32_t first, int32_t second, int32_t bits);

#ifdef __cplusplus
}
#endif

#endif

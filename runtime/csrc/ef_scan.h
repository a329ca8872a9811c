/* Linear recurrences along a sequence in 16 bits: h[t] = a[t] * h[t - 1] + b[t] from h = 0, and running
 * sums, where a is 1. export/ops/scan.py defines the arithmetic.
 */
#ifndef EF_SCAN_H
#define EF_SCAN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_scan_args {
    uint32_t steps;
    uint32_t width;           /* values of a step */
    int32_t decay_zero_point; /* of a */
    int32_t decay_multiplier; /* from a product to the scale of h */
    int32_t decay_shift;
    int32_t addition_zero_point; /* of b */
    int32_t addition_multiplier; /* to the scale of h */
    int32_t addition_shift;
    uint8_t reverse;        /* from the last step to the first */
    uint8_t wide_decays;    /* whether a is int16 instead of int8 */
    uint8_t wide_additions; /* likewise b */
} ef_scan_args;

/* decays, additions: int8 or int16 [steps][width]; out: int16, 2-aligned. */
void ef_scan_s16(const ef_scan_args *a, const int8_t *decays, const int8_t *additions,
                 int8_t *out);

void ef_running_sum_s16(const ef_scan_args *a, const int8_t *additions, int8_t *out);

/* Element i of int8 or int16 values. */
static inline int32_t ef_scan_value(const int8_t *values, uint32_t i, uint8_t wide)
{
    return wide ? ((const int16_t *)(const void *)values)[i] : values[i];
}

#ifdef __cplusplus
}
#endif

#endif

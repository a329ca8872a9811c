/* The inner loop of the portable kernels: one row of bytes with four columns. */
#ifndef EF_DOT_FOURS_H
#define EF_DOT_FOURS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* acc[c] += sum over 4 * fours taps of w[4 * k + c] * x[k]. fours is 1 or more. */
void ef_dot_fours(const uint8_t *x, const uint8_t *w, uint32_t fours, int32_t *acc);

/* acc[c] = the same over k taps. */
static inline void ef_dot_block(const uint8_t *x, const uint8_t *w, uint32_t k, int32_t *acc)
{
    for (uint32_t c = 0; c < 4; c++) {
        acc[c] = 0;
    }
    for (uint32_t rest = k % 4; rest != 0; rest--) {
        for (uint32_t c = 0; c < 4; c++) {
            acc[c] += *x * w[c];
        }
        x++;
        w += 4;
    }
    if (k >= 4) {
        ef_dot_fours(x, w, k / 4, acc);
    }
}

#ifdef __cplusplus
}
#endif

#endif

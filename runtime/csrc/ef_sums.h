/* Dense layers of few weight values on cores without multiply-accumulate: all sums that a pair of
 * taps can give are tabled once, and every output channel looks its own up.
 */
#ifndef EF_SUMS_H
#define EF_SUMS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EF_SUMS_ENTRIES 256u /* of a table: pairs of 4-bit codes */
#define EF_SUMS_TABLES 2u    /* used in one pass over the output channels */
#define EF_SUMS_BIAS 0x8000u /* added to every entry, so that no half of a word borrows */

/* The 16 values of a codebook, as the tables are made from them. */
typedef struct ef_sums_values {
    uint32_t pairs[8];  /* value 2i + 65536 * value 2i + 1 */
    uint32_t steps[16]; /* from each value to the next, times 65537; the first from 0 */
    uint32_t bias;      /* EF_SUMS_BIAS in both halves */
} ef_sums_values;

/* table[i] = EF_SUMS_BIAS + value[i % 16] * x[0] + value[i / 16] * x[1] for the first table, and
 * the same of x[2] and x[3] behind it; 4-aligned. */
void ef_sums_fill(uint16_t *tables, const ef_sums_values *values, const int8_t *x);

/* Adds to each of 4 * fours sums an entry of each of two tables that lie together. Two bytes of
 * codes for each sum. */
void ef_sums_add(const uint8_t *codes, const uint16_t *tables, uint32_t *sums, uint32_t fours);

#ifdef __cplusplus
}
#endif

#endif

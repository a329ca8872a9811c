/* Sums of products of int16 lines in 64 bits, for cores with SMLAD. */
#ifndef EF_WIDE_PRODUCTS_H
#define EF_WIDE_PRODUCTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The assembler knows the offsets. */
typedef struct ef_wide_products {
    uint32_t steps;      /* of 4 products, at least 1 */
    uint32_t pairs;      /* of columns, at least 1 */
    int32_t column_step; /* bytes in `out` */
    int32_t row_step;
    uint32_t half;       /* 2^(shift - 1) */
    uint32_t shift;      /* to the right, 1..32 */
} ef_wide_products;

/* Two rows times 2 * pairs columns: out = saturate((sum + half) >> shift), which fits 32 bits before it
 * is saturated. rows and columns: words of two values of each of two lines in turns; steps of 0 in
 * `out` write one result over another. */
void ef_wide_products_run(const ef_wide_products *p, const uint32_t *rows, const uint32_t *columns,
                          int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

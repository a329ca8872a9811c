/* Sums of products with vectors of 4 weights, looked up where they lie. */
#ifndef EF_VECTORS_H
#define EF_VECTORS_H

#include <stdint.h>

#define EF_VECTORS_CHANNELS 4u
#define EF_VECTORS_TABLE_WORDS 512u /* two for each of 256 vectors */

/* sums[c] = sum of weight * x over 4 * steps taps, for `blocks` times 4 channels, at least one.
 * table: [vector][taps (0, 2) and (1, 3) as int16 pairs]; table_and_strip points to the two:
 * strip: [tap pair] as ef_o8_expand_input leaves it; codes: [block][4 taps][channel]. */
void ef_vectors_dot(const uint8_t *codes, const uint32_t *const table_and_strip[2], uint32_t steps,
                    int32_t *sums, uint32_t blocks);

#endif

/* Sums of products with 4-bit weights, looked up two at a time. */
#ifndef EF_PAIRS_H
#define EF_PAIRS_H

#include <stdint.h>

#define EF_PAIRS_CHANNELS 4u

/* sums[c] = sum of weight * x over 4 * steps taps, for `blocks` times 4 channels, at least one.
 * codes: [block][tap pair][channel], a byte for the two taps of a pair; table_and_strip: the table
 * of ef_decoder_pairs_4bit with the strip behind it, [tap pair] as ef_o8_expand_input leaves it. */
void ef_pairs_dot(const uint8_t *codes, const uint32_t *table_and_strip, uint32_t steps,
                  int32_t *sums, uint32_t blocks);

#endif

/* Sums of products with digits: 4-bit weights in arithmetic progression, without a look-up.
 *
 * Half a word holds one tap of 4 channels as digits of base 16, the top one signed, so that SMLAD
 * adds up 4096 * d3 + 256 * d2 + 16 * d1 + d0 of two taps; BIC clears the top digit, the next SMLAD
 * adds up the other three, and so on. Differences, taken once at the end, separate the channels.
 */
#ifndef EF_DIGITS_H
#define EF_DIGITS_H

#include <stdint.h>

#define EF_DIGITS_CHANNELS 8u

/* sums[c] = sum of digit * x over 4 * steps taps, for 8 channels.
 * weights: [tap pair][2 words of 4 channels]; strip: [tap pair] as ef_o8_expand_input leaves it. */
void ef_digits_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps, int32_t *sums);

#endif

/* Sums of products with digits: 4-bit weights in arithmetic progression, without a look-up.
 *
 * Half a word holds one tap of 4 channels as digits of base 16, the top one signed, so that SMLAD
 * adds up 4096 * d3 + 256 * d2 + 16 * d1 + d0 of two taps; BIC clears the top digit, the next SMLAD
 * adds up the other three, and so on. Differences, taken once at the end, separate the channels.
 * With 2 bits it is done in another way (ef_digits_2bit.h).
 */
#ifndef EF_DIGITS_H
#define EF_DIGITS_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_o8.h"
#include "ef_simd.h"

#define EF_DIGITS_CHANNELS 8u

/* sums[c] = sum of digit * x over 4 * steps taps, for 8 channels.
 * weights: [tap pair][2 words of 4 channels]; strip: [tap pair] as ef_o8_expand_input leaves it. */
void ef_digits_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps, int32_t *sums);

/* ef_o8_pairs with digits: weights: [row][tap pair]; `start` holds doubled biases. To a channel's
 * sum of digits times `scale` come `offsets` of the pixel, [pair][first and second pixel; the same
 * for the channel of the top digit]. */
void ef_digits_pairs(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                     int8_t *out);

/* ef_o8_begin_block for it. */
void ef_digits_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                           ef_o8_block *block);

/* Writes the offsets of `block->pairs` pairs: the pixels' sums of inputs, doubled, times the
 * smallest value, for the top digit with what it is less. */
void ef_digits_offsets(const ef_o8_block *block, const ef_weights *weights, const uint32_t *strip,
                       int32_t *offsets);

/* Offsets of `block->pairs` pairs, [pair][4]: the sums of inputs of the first and second pixel,
 * doubled, times `base`, and both again times `base + more`. */
void ef_digits_sums(const ef_o8_block *block, int32_t base, int32_t more, const uint32_t *strip,
                    int32_t *offsets);

/* What all digits are multiplied with: values are base + step * digit. */
static inline int32_t ef_digits_base(const ef_weights *weights)
{
    return (int8_t)weights->table[0];
}

static inline int32_t ef_digits_step(const ef_weights *weights)
{
    return (int8_t)weights->table[1] - ef_digits_base(weights);
}

/* The sum of 2 * pairs words of a strip, pairs at least 1. */
static inline int32_t ef_digits_sum(const uint32_t *strip, uint32_t pairs)
{
    int32_t sum = 0;
    for (const uint32_t *end = strip + 2 * pairs; strip != end; strip += 2) {
        sum = ef_smlad(strip[0], 0x00010001u, sum);
        sum = ef_smlad(strip[1], 0x00010001u, sum);
    }
    return sum;
}

#endif

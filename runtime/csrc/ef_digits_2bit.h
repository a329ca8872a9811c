/* Sums of products with 2-bit weights in arithmetic progression, without a look-up.
 *
 * A word of 16 digits holds 4 taps of 4 channels. AND with a mask, after a rotation by a multiple of
 * 4 bits, leaves a digit in the lowest two bits of each half and one in its highest two, as a signed
 * number: 16384 * a + b of one tap and of two channels. SMLAD adds up 2^14 * sum(xa) + sum(xb) of two
 * taps. The sum with b is moved into a word of its own before it leaves its 14 bits: after `interval`
 * steps of 4 taps, in which the digits of no channel add up to more than 64.
 *
 * table: the smallest value; the one after it; the digit that is stored as 0 for a, 1 or 2;
 * `interval`; for convolutions, the turns of so many steps after which the sum with a is moved too, 0
 * for never. A digit d stands for table[0] + d * (table[1] - table[0]).
 */
#ifndef EF_DIGITS_2BIT_H
#define EF_DIGITS_2BIT_H

#include <stdint.h>

#include "ef_digits.h"

#define EF_DIGITS_2BIT_MASK 0xC003C003u
/* The longest intervals: the loops are as long. */
#define EF_DIGITS_2BIT_PAIR_STEPS 8u
#define EF_DIGITS_2BIT_DOT_STEPS 6u
/* After so many the sum with a is moved as well. */
#define EF_DIGITS_2BIT_MOST_STEPS 120u

/* ef_digits_pairs with 2 bits: weights: [row][4 taps]; the offsets are, for a pair, those of b for the
 * first and second pixel, and those of a. */
void ef_digits_2bit_pairs(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                          int8_t *out);

/* ef_digits_begin_block and ef_digits_offsets for it. */
void ef_digits_2bit_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                                ef_o8_block *block);
void ef_digits_2bit_offsets(const ef_o8_block *block, const ef_weights *weights,
                            const uint32_t *strip, int32_t *offsets);

/* sums[c] += sum of stored digit * x over 4 * steps taps, for 8 channels, steps from 1 to
 * EF_DIGITS_2BIT_MOST_STEPS. weights: [4 taps][2 words of 4 channels]; strip: [tap pair] as
 * ef_o8_expand_input leaves it; turns: of ef_digits_2bit_turns. Returns the end of the weights. */
const uint32_t *ef_digits_2bit_dot(const uint32_t *weights, const uint32_t *strip, int32_t *sums,
                                   uint32_t turns);

/* The steps, those of a turn (`interval`) << 16, and those of the first one << 24. */
static inline uint32_t ef_digits_2bit_turns(uint32_t steps, uint32_t interval)
{
    return steps | interval << 16 | ((steps - 1) % interval + 1) << 24;
}

static inline uint32_t ef_digits_2bit_interval(const ef_weights *weights)
{
    return weights->table[3];
}

/* The word that SMLAD takes for channels 2 * pair (a) and 2 * pair + 1 (b), taps (tap, tap + 2). */
static inline uint32_t ef_digits_2bit_word(uint32_t digits, uint32_t pair, uint32_t tap)
{
    const uint32_t by = 8 * pair + 4 * tap;
    return (digits >> by | digits << ((32 - by) & 31)) & EF_DIGITS_2BIT_MASK;
}

/* Moves the sum with b out of a sum of both. */
static inline void ef_digits_2bit_flush(int32_t *both, int32_t *b)
{
    const int32_t low = (int32_t)((uint32_t)*both << 18) >> 18;
    *b += low;
    *both = (int32_t)((uint32_t)*both - (uint32_t)low);
}

#endif

/* Inner loops of the convolution and dense kernels for int8 weights in "o8" words.
 *
 * A word holds 2 output channels x 2 taps: its halves, for taps k and k + 2, are 256 * a + b of the
 * even and odd channel's weights as a signed int16. SMLAD of the word adds up 256 * sum(xa) +
 * sum(xb); SMLAD of its sign-extended low bytes gives sum(xb) alone; subtracting once at the end
 * separates the two. That takes one SXTB16 for 4 weights, and is exact while |sum(xa)| < 2^23
 * (wrap-around in between does no harm).
 *
 * Inputs are int16 pairs of taps (0,2), (1,3), (4,6), (5,7), ... as SXTB16 leaves them.
 */
#ifndef EF_O8_H
#define EF_O8_H

#include <stdint.h>

#include "ef_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_O8_CHANNELS 4u
#define EF_O8_TAPS 4u /* taps per step: 2 input words a pixel, 4 weight words */

/* One block of 4 output channels; the assembler knows the offsets. */
typedef struct ef_o8_block {
    int32_t start[EF_O8_CHANNELS]; /* 256 * bias(a) + bias(b), bias(b), twice */
    struct {
        int32_t multiplier, offset, shift; /* see ef_requantize_doubled */
    } channel[EF_O8_CHANNELS];
    int32_t pair_pitch;   /* bytes from the first pixel of a pair to that of the next one */
    uint32_t steps;       /* of EF_O8_TAPS taps in a row of the kernel, at least 1 */
    uint32_t pairs;       /* pixel pairs, at least 1 */
    uint32_t rows;        /* runs of taps that lie apart in the strip, at least 1 */
    int32_t row_gap;      /* bytes from the end of such a run to the next one */
    int32_t strip_step;   /* bytes from pair to pair in the strip; 0: one row, end to end */
    int32_t second_pitch; /* bytes from the first to the second pixel of a pair */
    int32_t scale;        /* of sums of digits (ef_digits.h), doubled */
    const int32_t *offsets; /* [pair][4], likewise */
    uint32_t interval, first_turn; /* steps of a row's turns with 2-bit digits (ef_digits_2bit.h) */
    uint32_t segment, first_segment; /* bytes of weights of segments of a row, 0: it is one */
} ef_o8_block;

/* Fills channel, and start with the doubled biases, for `count` channels from `first_channel` on; the
 * results of the rest mean nothing. */
void ef_o8_begin_channels(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                          ef_o8_block *block);

/* The same with start as the o8 loops want it. */
void ef_o8_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                       ef_o8_block *block);

/* 2 pixels x 4 channels at a time. strip: [pair][tap pair][pixel], or a patch of the map in which
 * the pairs overlap; weights: [row][tap pair][2]; writes 4 channels of 2 * pairs
 * pixels. */
void ef_o8_pairs(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                 int8_t *out);

/* sums = dot products of 4 * steps taps with 4 channels of each block. strip: [tap pair]; weights as
 * above. */
void ef_o8_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps, int32_t *sums,
               uint32_t blocks);

/* Expands 4 * groups taps of two pixels to [tap pair][pixel]. Returns the end of `to`. */
uint32_t *ef_o8_expand_pair(uint32_t *to, const int8_t *first, const int8_t *second,
                            uint32_t groups);

/* Expands a dense layer's whole input to [tap pair]; the last group of 4 is filled up with 0. */
void ef_o8_expand_input(const int8_t *in, uint32_t taps, uint32_t *to);

#ifdef __cplusplus
}
#endif

#endif

/* Inner loops of the convolutions and dense layers on int16 inputs with int8 weights, for cores with
 * SMLAD.
 *
 * A word of weights holds 2 output channels x 2 taps: its halves, for neighbouring taps, are
 * 256 * a + b as a signed int16, like those of ef_o8.h. SMLALD of the word adds up
 * 256 * sum(xa) + sum(xb) in 64 bits, SMLAD of its sign-extended low bytes sum(xb) in 32; the
 * exporter proves that each of the two sums fits 32. One SXTB16 serves 4 weights.
 */
#ifndef EF_WIDE_SUMS_H
#define EF_WIDE_SUMS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EF_WIDE_TAPS 4u /* a step: 2 words of weights, 2 of a pixel */

/* Two output channels, a and b. out = ((sum * multiplier >> (shift + 16)) + 1) >> 1, saturated:
 * ef_scale_sum of a shift of 17 more. */
typedef struct ef_wide_pair {
    int32_t bias[2];
    int16_t multiplier[2];
    uint8_t shift[2]; /* 0..29 */
    uint8_t unused[2];
} ef_wide_pair;

/* Pairs of channels; the assembler knows the offsets. */
typedef struct ef_wide_block {
    const uint32_t *weights;      /* [pair][tap pair] */
    const ef_wide_pair *channels; /* [pair] */
    uint32_t steps;               /* of EF_WIDE_TAPS taps, at least 1 */
    uint32_t pairs;               /* at least 1 */
    int32_t pitch;                /* bytes from the first pixel of `out` to the second */
} ef_wide_block;

/* One pixel. strip: [tap pair]; writes 2 * pairs channels. */
void ef_wide_one_pixel(const ef_wide_block *block, const uint32_t *strip, int16_t *out);

/* Two pixels. strip: [tap pair][pixel]; writes 2 * pairs channels of each. */
void ef_wide_two_pixels(const ef_wide_block *block, const uint32_t *strip, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

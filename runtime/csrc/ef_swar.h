/* Convolution for cores that have neither SMLAD nor a multiply-accumulate (Armv6-M): one MULS works
 * on two output pixels.
 *
 * A word holds the inputs of two pixels for one tap, x0 + 65536 * x1, both as value + 128. Times a
 * weight (also as value + 128) it is the two products, which do not run into each other: each is
 * below 2^16. The word's sum over the taps and the sum of its upper halves separate the two pixels
 * at the end.
 */
#ifndef EF_SWAR_H
#define EF_SWAR_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_numerics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_SWAR_CHANNELS 4u

#if defined(__ARM_ARCH_6M__) && defined(__GNUC__) && !defined(EF_NO_ASM)
#define EF_HAS_ARMV6M 1
#else
#define EF_HAS_ARMV6M 0
#endif

/* sums[4 * p + c] = sum over `taps` taps of pixel p's input and channel c's weight, each 128 too
 * large; the weights are [tap][channel]. */
void ef_swar_pairs(const uint32_t *x, const uint8_t *w, uint32_t taps, uint32_t *sums);

/* The same for one pixel, a byte a tap. */
void ef_swar_single(const uint8_t *x, const uint8_t *w, uint32_t taps, uint32_t *sums);

/* Copies inputs as value + 128 and returns their sum. */
uint32_t ef_swar_expand(const int8_t *in, uint32_t count, uint8_t *to);

/* What the sums of some output channels of one or two pixels go through. */
typedef struct ef_swar_block {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    uint32_t channels;
    int32_t zero_point, low, high;
    struct {
        int8_t *out;     /* NULL for a second pixel that is not there */
        uint32_t offset; /* taken off the sums */
        const uint32_t *sums;
    } pixel[2];
} ef_swar_block;

/* `channels` channels from oc on; the pixels are left to set. */
static inline void ef_swar_begin(const ef_conv2d_args *a, uint32_t oc, uint32_t channels,
                                 ef_swar_block *block)
{
    block->bias = (const int32_t *)a->bias + oc;
    block->multiplier = a->multiplier + oc;
    block->shift = a->shift + oc;
    block->channels = channels;
    block->zero_point = a->out_zero_point;
    block->low = a->clamp_min;
    block->high = a->clamp_max;
}

/* Bias, requantization and clamp; shifts are to the right. */
void ef_swar_finish(const ef_swar_block *block);

/* ef_requantize, not inlined. */
int32_t ef_swar_requantize(int32_t acc, int32_t multiplier, int32_t shift);

#ifdef __cplusplus
}
#endif

#endif

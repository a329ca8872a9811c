/* The end of ef_wide_one_pixel and ef_wide_two_pixels: from the sums of two channels to a word of
 * outputs. */
#ifndef EF_WIDE_FINISH_H
#define EF_WIDE_FINISH_H

#include "ef_simd.h"
#include "ef_wide.h"
#include "ef_wide_sums.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_wide_layout_is_known[sizeof(ef_wide_pair) == 16 &&
                                             offsetof(ef_wide_pair, multiplier) == 8 &&
                                             offsetof(ef_wide_pair, shift) == 12 &&
                                             offsetof(ef_wide_block, steps) == 8 &&
                                             offsetof(ef_wide_block, pitch) == 16
                                         ? 1
                                         : -1];

/* Words of a pair at r8-r11, the second shift in r12. `low`, `high`: the sum of 64 bits, `b`: the
 * other. `low` becomes the word. */
#define EF_WIDE_FINISH                 \
    ".macro ef_wide_finish low, high, b\n" \
    "subs \\low, \\low, \\b\n"         \
    "sbc \\high, \\high, \\b, asr #31\n" \
    "lsr \\low, \\low, #8\n"           \
    "orr \\low, \\low, \\high, lsl #24\n" \
    "add \\low, \\low, r8\n"           \
    "add \\b, \\b, r9\n"               \
    "smulwb \\low, \\low, r10\n"       \
    "smulwt \\b, \\b, r10\n"           \
    "asr \\low, \\low, r11\n"          \
    "asr \\b, \\b, r12\n"              \
    "add \\low, \\low, #1\n"           \
    "add \\b, \\b, #1\n"               \
    "ssat \\low, #16, \\low, asr #1\n" \
    "ssat \\b, #16, \\b, asr #1\n"     \
    "pkhbt \\low, \\low, \\b, lsl #16\n" \
    ".endm\n"

#else

/* A pixel of two channels; strip words lie `apart` words apart. */
static inline uint32_t ef_wide_pixel(const ef_wide_pair *channels, const uint32_t *weights,
                                     const uint32_t *strip, uint32_t apart, uint32_t steps)
{
    int64_t both = 0;
    int32_t b = 0;
    int16_t out[2];
    for (uint32_t word = 0; word < 2 * steps; word++) {
        const uint32_t w = weights[word];
        const uint32_t x = strip[word * apart];
        both += (int64_t)ef_low(w) * ef_low(x) + (int64_t)ef_high(w) * ef_high(x);
        b = ef_smlad(ef_sxtb16(w), x, b);
    }
    const int32_t sums[2] = {(int32_t)((both - b) >> 8), b};
    for (uint32_t c = 0; c < 2; c++) {
        const int32_t sum = (int32_t)((uint32_t)sums[c] + (uint32_t)channels->bias[c]);
        out[c] = ef_saturate_s16(
            ef_scale_sum(sum, channels->multiplier[c], channels->shift[c] + 17));
    }
    return ef_pack(out[0], out[1]);
}

#endif

#endif

#include "ef_pool2d.h"
#include "ef_word4.h"

/* A 16-bit lane holds the sum of so many int8 values. */
#define LANE_VALUES 256

/* Lanes 0 and 2, and lanes 1 and 3, of four channels, each pair in one word. */
typedef struct lane_sums {
    uint32_t even, odd;
} lane_sums;

static inline void add_word(lane_sums *sums, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    __asm__("sxtab16 %0, %0, %1" : "+r"(sums->even) : "r"(word));
    __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(sums->odd) : "r"(word));
#else
    /* value + 128 is not negative, so the halves of a word cannot borrow from each other. */
    word ^= 0x80808080u;
    sums->even += word & 0x00FF00FFu;
    sums->odd += (word >> 8) & 0x00FF00FFu;
#endif
}

static inline int32_t lane(uint32_t pair, uint32_t shift, int32_t values)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    (void)values;
    return (int16_t)(uint16_t)(pair >> shift);
#else
    return (int32_t)((pair >> shift) & 0xFFFFu) - 128 * values;
#endif
}

/* The sums of four channels over the window whose first element is `row`. */
static inline void sum_window(const int8_t *row, int32_t height, int32_t width, int32_t channels,
                              int32_t row_bytes, int32_t *total)
{
    lane_sums sums = {0, 0};
    int32_t held = 0;
    total[0] = total[1] = total[2] = total[3] = 0;
    for (;;) {
        const int8_t *source = row;
        for (int32_t left = width; left != 0; left--) {
            add_word(&sums, ef_word4_load(source));
            source += channels;
        }
        held += width;
        row += row_bytes;
        height--;
        if (height == 0 || held + width > LANE_VALUES) {
            total[0] += lane(sums.even, 0, held);
            total[1] += lane(sums.odd, 0, held);
            total[2] += lane(sums.even, 16, held);
            total[3] += lane(sums.odd, 16, held);
            if (height == 0) {
                return;
            }
            sums.even = 0;
            sums.odd = 0;
            held = 0;
        }
    }
}

void ef_average_pool2d_s8(const ef_pool2d_args *a, const int8_t *in, int8_t *out)
{
    const int32_t channels = a->channels;
    const int32_t row_bytes = a->in_w * channels;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const ef_pool2d_span rows =
            ef_pool2d_clip(oy, a->stride_h, a->pad_top, a->kernel_h, a->in_h);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const ef_pool2d_span columns =
                ef_pool2d_clip(ox, a->stride_w, a->pad_left, a->kernel_w, a->in_w);
            const int32_t height = rows.end - rows.first;
            const int32_t width = columns.end - columns.first;
            const int32_t count = height * width;
            const int8_t *corner = in + rows.first * row_bytes + columns.first * channels;
            for (const int8_t *end = corner + channels; corner != end; corner += 4) {
                int32_t total[4];
                sum_window(corner, height, width, channels, row_bytes, total);
                out[0] = (int8_t)ef_pool2d_mean(total[0], count);
                out[1] = (int8_t)ef_pool2d_mean(total[1], count);
                out[2] = (int8_t)ef_pool2d_mean(total[2], count);
                out[3] = (int8_t)ef_pool2d_mean(total[3], count);
                out += 4;
            }
        }
    }
}

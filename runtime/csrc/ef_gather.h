/* Copies of map elements, with padding, by words where that is possible. */
#ifndef EF_GATHER_H
#define EF_GATHER_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_simd.h"

/* These two return the end of what they wrote. The last word may lie over the one before. */
static inline int8_t *ef_copy_bytes(int8_t *to, const int8_t *from, uint32_t count)
{
    int8_t *end = to + count;
    if (count >= 4) {
        const uint32_t last = ef_load_word(from + count - 4);
        for (; end - to > 4; to += 4, from += 4) {
            ef_store_word(to, ef_load_word(from));
        }
        ef_store_word(end - 4, last);
    } else {
        while (to != end) {
            *to++ = *from++;
        }
    }
    return end;
}

static inline int8_t *ef_fill_bytes(int8_t *to, int32_t value, uint32_t count)
{
    int8_t *end = to + count;
    if (count >= 4) {
        const uint32_t word = ((uint32_t)value & 0xFFu) * 0x01010101u;
        for (; end - to > 4; to += 4) {
            ef_store_word(to, word);
        }
        ef_store_word(end - 4, word);
    } else {
        while (to != end) {
            *to++ = (int8_t)value;
        }
    }
    return end;
}

static inline int32_t ef_between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* `rows` runs of `columns` neighbouring columns from (y, x) on, all channels, one run after the
 * other; what is outside the map is the input's zero point. */
static inline void ef_copy_window(const ef_conv2d_args *a, const int8_t *in, int32_t y, int32_t x,
                                  uint32_t rows, int32_t columns, int8_t *to)
{
    const int32_t line = a->in_w * a->in_c;
    const uint32_t count = (uint32_t)(columns * a->in_c);
    const uint32_t left = (uint32_t)(ef_between(-x, 0, columns) * a->in_c);
    const uint32_t right = (uint32_t)(ef_between(x + columns - a->in_w, 0, columns) * a->in_c);
    int32_t offset = y * line + x * a->in_c + (int32_t)left;
    for (; rows != 0; rows--) {
        if (y < 0 || y >= a->in_h) {
            to = ef_fill_bytes(to, a->in_zero_point, count);
        } else {
            if (left != 0) {
                to = ef_fill_bytes(to, a->in_zero_point, left);
            }
            if (left + right != count) {
                to = ef_copy_bytes(to, in + offset, count - left - right);
            }
            if (right != 0) {
                to = ef_fill_bytes(to, a->in_zero_point, right);
            }
        }
        y += a->dilation_h;
        offset += line * a->dilation_h;
    }
}

#endif

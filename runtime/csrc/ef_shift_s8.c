#include "ef_shift.h"

#include "ef_word4.h"

/* A block of `block` bytes in each of `pixels` pixels that are `step` bytes apart. */
static void copy_blocks(const int8_t *in, int8_t *out, int32_t pixels, int32_t block, int32_t step)
{
    const int32_t gap = step - block;
    const uintptr_t ends = (uintptr_t)in | (uintptr_t)out;
    if (((ends | (uintptr_t)block | (uintptr_t)step) & 3u) == 0u) {
        for (; pixels > 0; pixels--) {
            for (const int8_t *end = in + block; in != end; in += 4, out += 4) {
                ef_word4_store(out, ef_word4_load(in));
            }
            in += gap;
            out += gap;
        }
    } else if (block == 1) {
        for (; pixels > 0; pixels--) {
            *out = *in;
            in += step;
            out += step;
        }
    } else {
        for (; pixels > 0; pixels--) {
            for (const int8_t *end = in + block; in != end;) {
                *out++ = *in++;
            }
            in += gap;
            out += gap;
        }
    }
}

static void fill_blocks(int8_t *out, int32_t pixels, int32_t block, int32_t step, int8_t value)
{
    for (; pixels > 0; pixels--) {
        for (int32_t c = 0; c < block; c++) {
            out[c] = value;
        }
        out += step;
    }
}

static int32_t at_most(int32_t value, int32_t limit)
{
    return value < limit ? value : limit;
}

void ef_shift_s8(const ef_shift_args *a, const int8_t *in, int8_t *out)
{
    const int16_t *run = a->runs;
    const int32_t width = a->width;
    const int32_t step = a->channels;
    for (uint32_t r = 0; r < a->run_count; r++) {
        const int32_t block = run[0];
        const int32_t columns = run[2];
        /* Pixels at the left and at the right whose source lies outside the map. */
        const int32_t left = at_most(columns < 0 ? -columns : 0, width);
        const int32_t right = at_most(columns > 0 ? columns : 0, width);
        const int32_t middle = width - left - right;
        for (int32_t y = 0; y < a->height; y++) {
            const int32_t from = y + run[1];
            int8_t *row = out + y * width * step;
            if (from < 0 || from >= a->height) {
                fill_blocks(row, width, block, step, a->zero_point);
                continue;
            }
            fill_blocks(row, left, block, step, a->zero_point);
            if (middle > 0) {
                copy_blocks(in + (from * width + left + columns) * step, row + left * step, middle,
                            block, step);
            }
            fill_blocks(row + (width - right) * step, right, block, step, a->zero_point);
        }
        in += block;
        out += block;
        run += EF_SHIFT_RUN_NUMBERS;
    }
}

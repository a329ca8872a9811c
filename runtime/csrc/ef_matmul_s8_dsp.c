#include "ef_attributes.h"
#include "ef_matmul.h"
#include "ef_simd.h"

/* Both matrices are taken as int16 pairs, less their zero points: two lines of depth at a time,
 * word by word in turns, each group of 4 in the order (0, 2), (1, 3) that SXTB16 leaves. */

/* Four elements of one line to two words, one word apart. */
static inline void put(uint32_t *to, int32_t x0, int32_t x1, int32_t x2, int32_t x3)
{
    to[0] = ef_pack(x0, x2);
    to[2] = ef_pack(x1, x3);
}

/* One line, `step` bytes between its elements, filled up with zeros to a multiple of 4. */
static void pack_line(const int8_t *from, uint32_t step, uint32_t depth, int32_t zero_point,
                      uint32_t *to)
{
    const uint32_t minus_zero = ef_pack(-zero_point, -zero_point);
    uint32_t left = depth;
    for (; left >= 4; left -= 4) {
        if (step == 1) {
            const uint32_t bytes = ef_load_word(from);
            to[0] = ef_add16(ef_sxtb16(bytes), minus_zero);
            to[2] = ef_add16(ef_sxtb16_odd(bytes), minus_zero);
        } else {
            put(to, from[0] - zero_point, from[step] - zero_point, from[2 * step] - zero_point,
                from[3 * step] - zero_point);
        }
        from += 4 * step;
        to += 4;
    }
    if (left != 0) {
        put(to, from[0] - zero_point, left > 1 ? from[step] - zero_point : 0,
            left > 2 ? from[2 * step] - zero_point : 0, 0);
    }
}

/* Two lines; the second one again where there is only one. */
static void pack_pair(const int8_t *from, uint32_t line_step, uint32_t lines, uint32_t step,
                      uint32_t depth, int32_t zero_point, uint32_t *to)
{
    pack_line(from, step, depth, zero_point, to);
    pack_line(lines > 1 ? from + line_step : from, step, depth, zero_point, to + 1);
}

static int8_t finish(const ef_matmul_args *a, int32_t acc)
{
    const uint32_t right = (uint32_t)-a->shift;
    const int32_t offset = (int32_t)((uint32_t)(2 * a->out_zero_point + 1) << (right - 1));
    return (int8_t)ef_requantize_doubled(2 * acc, a->multiplier, offset, (int32_t)right);
}

/* Two rows with two columns of `words` words. */
static EF_OUT_OF_LINE void dot_2x2(const uint32_t *x, const uint32_t *y, uint32_t words, int32_t *sums)
{
    const uint32_t *const end = x + 2 * words;
    int32_t s00 = 0;
    int32_t s01 = 0;
    int32_t s10 = 0;
    int32_t s11 = 0;
    while (x != end) {
        for (uint32_t i = 0; i < 4; i += 2) {
            const uint32_t x0 = x[i];
            const uint32_t x1 = x[i + 1];
            const uint32_t y0 = y[i];
            const uint32_t y1 = y[i + 1];
            s00 = ef_smlad(x0, y0, s00);
            s01 = ef_smlad(x0, y1, s01);
            s10 = ef_smlad(x1, y0, s10);
            s11 = ef_smlad(x1, y1, s11);
        }
        x += 4;
        y += 4;
    }
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s10;
    sums[3] = s11;
}

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    const uint32_t words = (a->depth + 3) / 4 * 2; /* of a line */
    uint32_t *packed = (uint32_t *)scratch;
    uint32_t *rows = packed + a->tile * words;

    for (uint32_t first = 0; first < a->columns; first += a->tile) {
        const uint32_t left = a->columns - first;
        const uint32_t columns = left < a->tile ? left : a->tile;
        for (uint32_t c = 0; c < columns; c += 2) {
            pack_pair(in2 + (first + c) * a->column_step2, a->column_step2, columns - c,
                      a->depth_step2, a->depth, a->zero_point2, packed + c * words);
        }
        for (uint32_t r = 0; r < a->rows; r += 2) {
            int8_t *target = out + r * a->row_step_out + first * a->column_step_out;
            pack_pair(in1 + r * a->row_step1, a->row_step1, a->rows - r, a->depth_step1, a->depth,
                      a->zero_point1, rows);
            for (uint32_t c = 0; c < columns; c += 2) {
                int32_t sums[4];
                dot_2x2(rows, packed + c * words, words, sums);
                target[0] = finish(a, sums[0]);
                if (c + 1 < columns) {
                    target[a->column_step_out] = finish(a, sums[1]);
                }
                if (r + 1 < a->rows) {
                    target[a->row_step_out] = finish(a, sums[2]);
                    if (c + 1 < columns) {
                        target[a->row_step_out + a->column_step_out] = finish(a, sums[3]);
                    }
                }
                target += 2 * a->column_step_out;
            }
        }
    }
}

void ef_matmul_s8_dsp(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch)
{
    ef_matmul_each(a, in1, in2, out, scratch, product);
}

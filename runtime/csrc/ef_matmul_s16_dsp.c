#include "ef_attributes.h"
#include "ef_matmul.h"
#include "ef_simd.h"
#include "ef_wide_products.h"

/* Both matrices are packed: two lines of depth at a time, in turns words of two values each. */

/* One line, `step` elements from value to value, filled up with zeros to a multiple of 4. */
static EF_OUT_OF_LINE void pack_line(const int16_t *from, uint32_t step, uint32_t depth,
                                     uint32_t *to)
{
    uint32_t left = depth;
    if (step == 1) {
        for (; left >= 4; left -= 4) {
            to[0] = ef_load_word(from);
            to[2] = ef_load_word(from + 2);
            from += 4;
            to += 4;
        }
    } else {
        for (; left >= 4; left -= 4) {
            to[0] = ef_pack(from[0], from[step]);
            to[2] = ef_pack(from[2 * step], from[3 * step]);
            from += 4 * step;
            to += 4;
        }
    }
    if (left != 0) {
        to[0] = ef_pack(from[0], left > 1 ? from[step] : 0);
        to[2] = ef_pack(left > 2 ? from[2 * step] : 0, 0);
    }
}

/* Two lines; the second one again where there is only one. */
static void pack_pair(const int16_t *from, uint32_t line_step, uint32_t lines, uint32_t step,
                      uint32_t depth, uint32_t *to)
{
    pack_line(from, step, depth, to);
    pack_line(lines > 1 ? from + line_step : from, step, depth, to + 1);
}

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    const int16_t *first = (const int16_t *)(const void *)in1;
    const int16_t *second = (const int16_t *)(const void *)in2;
    const uint32_t words = (a->depth + 3) / 4 * 2; /* of a line */
    uint32_t *packed = (uint32_t *)scratch;
    uint32_t *rows = packed + a->tile * words;
    ef_wide_products p;
    p.steps = words / 2;
    p.shift = (uint32_t)a->shift - 14u; /* the multiplier is 2^14 */
    p.half = (uint32_t)1 << (p.shift - 1);

    for (uint32_t start = 0; start < a->columns; start += a->tile) {
        const uint32_t left = a->columns - start;
        const uint32_t columns = left < a->tile ? left : a->tile;
        int16_t *to = (int16_t *)(void *)out + start * a->column_step_out;
        for (uint32_t c = 0; c < columns; c += 2) {
            pack_pair(second + (start + c) * a->column_step2, a->column_step2, columns - c,
                      a->depth_step2, a->depth, packed + c * words);
        }
        for (uint32_t r = 0; r < a->rows; r += 2) {
            pack_pair(first + r * a->row_step1, a->row_step1, a->rows - r, a->depth_step1, a->depth,
                      rows);
            p.pairs = columns / 2;
            p.row_step = r + 1 < a->rows ? (int32_t)(a->row_step_out * sizeof(int16_t)) : 0;
            p.column_step = (int32_t)(a->column_step_out * sizeof(int16_t));
            if (p.pairs != 0) {
                ef_wide_products_run(&p, rows, packed, to);
            }
            if (columns % 2 != 0) {
                p.pairs = 1;
                p.column_step = 0;
                ef_wide_products_run(&p, rows, packed + (columns - 1) * words,
                                     to + (columns - 1) * a->column_step_out);
            }
            to += 2 * a->row_step_out;
        }
    }
}

void ef_matmul_s16_dsp(const ef_matmul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out,
                       void *scratch)
{
    ef_matmul_each(a, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out, scratch, product);
}

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

/* Sums of two rows with two columns: s00, s01, s10, s11. `end` is that of the rows. */
static inline void dot_2x2(const uint32_t *x, const uint32_t *y, const uint32_t *end, int32_t *sums)
{
    int32_t s00 = 0;
    int32_t s01 = 0;
    int32_t s10 = 0;
    int32_t s11 = 0;
#if EF_HAS_DSP
    uint32_t x0;
    uint32_t x1;
    uint32_t y0;
    uint32_t y1;
    /* Compilers spill registers here, and load words one by one. */
    __asm__("1:\n"
            "ldrd %[x0], %[x1], [%[x]], #8\n"
            "ldrd %[y0], %[y1], [%[y]], #8\n"
            "smlad %[s00], %[x0], %[y0], %[s00]\n"
            "smlad %[s01], %[x0], %[y1], %[s01]\n"
            "smlad %[s10], %[x1], %[y0], %[s10]\n"
            "smlad %[s11], %[x1], %[y1], %[s11]\n"
            "ldrd %[x0], %[x1], [%[x]], #8\n"
            "ldrd %[y0], %[y1], [%[y]], #8\n"
            "smlad %[s00], %[x0], %[y0], %[s00]\n"
            "smlad %[s01], %[x0], %[y1], %[s01]\n"
            "smlad %[s10], %[x1], %[y0], %[s10]\n"
            "smlad %[s11], %[x1], %[y1], %[s11]\n"
            "cmp %[x], %[end]\n"
            "bne 1b\n"
            : [x] "+r"(x), [y] "+r"(y), [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10),
              [s11] "+r"(s11), [x0] "=&r"(x0), [x1] "=&r"(x1), [y0] "=&r"(y0), [y1] "=&r"(y1)
            : [end] "r"(end)
            : "cc", "memory");
#else
    for (; x != end; x += 2, y += 2) {
        s00 = ef_smlad(x[0], y[0], s00);
        s01 = ef_smlad(x[0], y[1], s01);
        s10 = ef_smlad(x[1], y[0], s10);
        s11 = ef_smlad(x[1], y[1], s11);
    }
#endif
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s10;
    sums[3] = s11;
}

/* Two rows with `columns` packed columns. Where there is no second one, the first is there twice,
 * and what it gives is written twice: `row_step` is 0 then. */
static EF_OUT_OF_LINE void multiply_rows(const ef_matmul_args *a, const uint32_t *rows,
                                         const uint32_t *packed, uint32_t columns,
                                         uint32_t row_step, int8_t *out)
{
    const uint32_t words = (a->depth + 3) / 4 * 4; /* of two lines */
    const uint32_t *const end = rows + words;
    const int32_t multiplier = a->multiplier;
    const int32_t right = -a->shift;
    const int32_t offset = (int32_t)((uint32_t)(2 * a->out_zero_point + 1) << (right - 1));
    const uint32_t step = a->column_step_out;
    for (uint32_t left = columns; left != 0;) {
        const uint32_t second = left > 1 ? step : 0;
        int32_t sums[4];
        dot_2x2(rows, packed, end, sums);
        out[0] = (int8_t)ef_requantize_doubled(2 * sums[0], multiplier, offset, right);
        out[second] = (int8_t)ef_requantize_doubled(2 * sums[1], multiplier, offset, right);
        out[row_step] = (int8_t)ef_requantize_doubled(2 * sums[2], multiplier, offset, right);
        out[row_step + second] =
            (int8_t)ef_requantize_doubled(2 * sums[3], multiplier, offset, right);
        out += 2 * step;
        packed += words;
        left -= left > 1 ? 2 : 1;
    }
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
            pack_pair(in1 + r * a->row_step1, a->row_step1, a->rows - r, a->depth_step1, a->depth,
                      a->zero_point1, rows);
            multiply_rows(a, rows, packed, columns, r + 1 < a->rows ? a->row_step_out : 0,
                          out + r * a->row_step_out + first * a->column_step_out);
        }
    }
}

void ef_matmul_s8_dsp(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch)
{
    ef_matmul_each(a, in1, in2, out, scratch, product);
}

#include "ef_dot_fours.h"
#include "ef_matmul.h"
#include "ef_numerics.h"

#define BLOCK 4u

/* Bytes are code + 128: Cortex-M0+ has no load of a signed byte at a constant offset. So are the
 * zero points; out of the sums come zero_point1 * sum(in2), zero_point2 * sum(in1) and what both
 * take off twice. */

/* Columns of the second matrix to [block of 4][depth][4], and what each takes off its sums. */
static void pack_columns(const ef_matmul_args *a, const int8_t *in2, uint32_t columns,
                         uint8_t *packed, int32_t *offsets)
{
    const int32_t zero1 = a->zero_point1 + 128;
    const int32_t constant = (int32_t)a->depth * zero1 * (a->zero_point2 + 128);
    for (uint32_t c = 0; c < columns; c++) {
        const int8_t *from = in2 + c * a->column_step2;
        uint8_t *to = packed + c / BLOCK * BLOCK * a->depth + c % BLOCK;
        int32_t sum = 0;
        for (uint32_t d = a->depth; d != 0; d--) {
            const int32_t value = *from + 128;
            *to = (uint8_t)value;
            sum += value;
            from += a->depth_step2;
            to += BLOCK;
        }
        offsets[c] = constant - zero1 * sum;
    }
}

/* One row of the first matrix; returns what it takes off the sums of all its columns. */
static int32_t pack_row(const ef_matmul_args *a, const int8_t *in1, uint8_t *row)
{
    int32_t sum = 0;
    for (uint8_t *end = row + a->depth; row != end; row++) {
        const int32_t value = *in1 + 128;
        *row = (uint8_t)value;
        sum += value;
        in1 += a->depth_step1;
    }
    return (a->zero_point2 + 128) * sum;
}

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    int32_t *offsets = (int32_t *)scratch;
    uint8_t *packed = (uint8_t *)(offsets + a->tile);
    uint8_t *row = packed + a->tile * a->depth;

    for (uint32_t first = 0; first < a->columns; first += a->tile) {
        const uint32_t left = a->columns - first;
        const uint32_t columns = left < a->tile ? left : a->tile;
        pack_columns(a, in2 + first * a->column_step2, columns, packed, offsets);
        for (uint32_t r = 0; r < a->rows; r++) {
            const int32_t row_offset = pack_row(a, in1 + r * a->row_step1, row);
            int8_t *target = out + r * a->row_step_out + first * a->column_step_out;
            for (uint32_t c = 0; c < columns; c += BLOCK) {
                const uint32_t count = columns - c < BLOCK ? columns - c : BLOCK;
                int32_t acc[BLOCK];
                ef_dot_block(row, packed + c * a->depth, a->depth, acc);
                for (uint32_t i = 0; i < count; i++) {
                    const int32_t sum = acc[i] + offsets[c + i] - row_offset;
                    const int32_t scaled = ef_requantize(sum, a->multiplier, a->shift);
                    *target = ef_clamp_s8(scaled + a->out_zero_point, INT8_MIN, INT8_MAX);
                    target += a->column_step_out;
                }
            }
        }
    }
}

void ef_matmul_s8(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                  void *scratch)
{
    ef_matmul_each(a, in1, in2, out, scratch, product);
}

#include "ef_matmul.h"
#include "ef_wide.h"

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    const int16_t *row = (const int16_t *)(const void *)in1;
    int16_t *row_out = (int16_t *)(void *)out;
    (void)scratch;
    for (uint32_t r = 0; r < a->rows; r++) {
        const int16_t *column = (const int16_t *)(const void *)in2;
        for (uint32_t c = 0; c < a->columns; c++) {
            const int16_t *x = row;
            const int16_t *y = column;
            int64_t acc = 0;
            for (uint32_t d = a->depth; d != 0; d--) {
                acc += (int32_t)*x * *y;
                x += a->depth_step1;
                y += a->depth_step2;
            }
            row_out[c * a->column_step_out] =
                ef_saturate_s16(ef_scale_wide(acc, a->multiplier, a->shift));
            column += a->column_step2;
        }
        row += a->row_step1;
        row_out += a->row_step_out;
    }
}

void ef_matmul_s16(const ef_matmul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out,
                   void *scratch)
{
    ef_matmul_each(a, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out, scratch, product);
}

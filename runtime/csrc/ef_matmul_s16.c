#include "ef_attributes.h"
#include "ef_matmul.h"
#include "ef_wide.h"

/* Two products and -1 fit 32 bits: none is below -2^30 + 2^15, and none above 2^30. Their halves are
 * added up each on its own, which takes no carries. Depths are below 2^17. */
static EF_OUT_OF_LINE int64_t dot(const ef_matmul_args *a, const int16_t *x, const int16_t *y)
{
    const uint32_t step1 = a->depth_step1;
    const uint32_t step2 = a->depth_step2;
    int32_t high = 0;
    uint32_t low = a->depth / 2;
    int32_t last = 0;
    if (a->depth % 2 != 0) {
        last = *x * *y;
        x += step1;
        y += step2;
    }
    for (uint32_t pairs = low; pairs != 0; pairs--) {
        int32_t both = *x * *y - 1;
        x += step1;
        y += step2;
        both += *x * *y;
        x += step1;
        y += step2;
        high += both >> 16;
        low += (uint32_t)both & 0xFFFFu;
    }
    return (int64_t)high * 65536 + low + last;
}

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    const int16_t *row = (const int16_t *)(const void *)in1;
    int16_t *row_out = (int16_t *)(void *)out;
    (void)scratch;
    for (uint32_t r = 0; r < a->rows; r++) {
        const int16_t *column = (const int16_t *)(const void *)in2;
        int16_t *to = row_out;
        for (uint32_t c = 0; c < a->columns; c++) {
            *to = ef_saturate_s16(ef_scale_wide(dot(a, row, column), a->multiplier, a->shift));
            column += a->column_step2;
            to += a->column_step_out;
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

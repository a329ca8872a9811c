#include "ef_matmul.h"
#include "ef_numerics.h"

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    (void)scratch;
    for (uint32_t r = 0; r < a->rows; r++) {
        for (uint32_t c = 0; c < a->columns; c++) {
            int32_t acc = 0;
            for (uint32_t d = 0; d < a->depth; d++) {
                acc += (in1[r * a->row_step1 + d * a->depth_step1] - a->zero_point1) *
                       (in2[d * a->depth_step2 + c * a->column_step2] - a->zero_point2);
            }
            const int32_t scaled = ef_requantize(acc, a->multiplier, a->shift);
            out[r * a->row_step_out + c * a->column_step_out] =
                ef_clamp_s8(scaled + a->out_zero_point, INT8_MIN, INT8_MAX);
        }
    }
}

void ef_matmul_s8_ref(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch)
{
    ef_matmul_each(a, in1, in2, out, scratch, product);
}

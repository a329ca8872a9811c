#include "ef_mul.h"
#include "ef_numerics.h"

static EF_OUT_OF_LINE void multiply_row(const void *args, const int8_t *in1, int32_t step1,
                                        const int8_t *in2, int32_t step2, int8_t *out,
                                        int32_t count)
{
    const ef_mul_args *a = (const ef_mul_args *)args;
    for (; count > 0; count--) {
        const int32_t product = (*in1 - a->zero_point1) * (*in2 - a->zero_point2);
        const int32_t scaled = ef_requantize(product, a->multiplier, a->shift);
        *out++ = ef_clamp_s8(scaled + a->out_zero_point, a->low, a->high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_mul_s8_ref(const ef_mul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, multiply_row, a);
}

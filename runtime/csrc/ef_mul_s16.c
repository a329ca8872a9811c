#include "ef_mul.h"
#include "ef_numerics.h"
#include "ef_wide.h"

static EF_OUT_OF_LINE void multiply_row(const void *args, const int8_t *in1, int32_t step1,
                                        const int8_t *in2, int32_t step2, int8_t *out,
                                        int32_t count)
{
    const ef_mul_args *a = (const ef_mul_args *)args;
    for (const int8_t *end = out + count; out != end; out += sizeof(int16_t)) {
        const int32_t x1 = *(const int16_t *)(const void *)in1;
        const int32_t x2 = *(const int16_t *)(const void *)in2;
        const int32_t product = ef_requantize(x1 * x2, a->multiplier, a->shift);
        *(int16_t *)(void *)out = ef_clamp_s16(product, a->low, a->high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_mul_s16(const ef_mul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      multiply_row, a);
}

#include "ef_add.h"
#include "ef_numerics.h"

/* (x - zero_point) * 2^20 at the common scale. */
static inline int32_t rescale(int8_t x, int32_t zero_point, int32_t multiplier, int32_t shift)
{
    return ef_requantize((x - zero_point) * (1 << 20), multiplier, shift);
}

static EF_OUT_OF_LINE void add_row(const void *args, const int8_t *in1, int32_t step1,
                                   const int8_t *in2, int32_t step2, int8_t *out,
                                   int32_t count)
{
    const ef_add_rescaled_args *a = (const ef_add_rescaled_args *)args;
    for (; count > 0; count--) {
        const int32_t first = rescale(*in1, a->zero_point1, a->multiplier1, a->shift1);
        const int32_t second = rescale(*in2, a->zero_point2, a->multiplier2, a->shift2);
        const int32_t sum = ef_requantize(first + a->sign * second, a->multiplier, a->shift);
        *out++ = ef_clamp_s8(sum + a->out_zero_point, a->low, a->high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_add_rescaled_s8(const ef_add_rescaled_args *a, const int8_t *in1, const int8_t *in2,
                        int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, add_row, a);
}

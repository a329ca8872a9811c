#include "ef_add.h"
#include "ef_numerics.h"
#include "ef_wide.h"

static EF_OUT_OF_LINE void add_row(const void *args, const int8_t *in1, int32_t step1,
                                   const int8_t *in2, int32_t step2, int8_t *out,
                                   int32_t count)
{
    const ef_add_rescaled_args *a = (const ef_add_rescaled_args *)args;
    for (const int8_t *end = out + count; out != end; out += sizeof(int16_t)) {
        const int32_t x1 = *(const int16_t *)(const void *)in1;
        const int32_t x2 = *(const int16_t *)(const void *)in2;
        const int32_t first = ef_requantize(x1 * (1 << 15), a->multiplier1, a->shift1);
        const int32_t second = ef_requantize(x2 * (1 << 15), a->multiplier2, a->shift2);
        const int32_t sum = ef_requantize(first + a->sign * second, a->multiplier, a->shift);
        *(int16_t *)(void *)out = ef_clamp_s16(sum, a->low, a->high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_add_rescaled_s16(const ef_add_rescaled_args *a, const int16_t *in1, const int16_t *in2,
                         int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      add_row, a);
}

#include "ef_add.h"
#include "ef_numerics.h"
#include "ef_wide.h"

static EF_OUT_OF_LINE void add_row(const void *args, const int8_t *in1, int32_t step1,
                                   const int8_t *in2, int32_t step2, int8_t *out,
                                   int32_t count)
{
    const ef_add_shifted_args *a = (const ef_add_shifted_args *)args;
    const int32_t factor1 = a->factor1;
    const int32_t factor2 = a->factor2;
    const int32_t shift = a->shift;
    const int32_t low = a->low;
    const int32_t high = a->high;
    for (const int8_t *end = out + count; out != end; out += sizeof(int16_t)) {
        const int32_t x1 = *(const int16_t *)(const void *)in1;
        const int32_t x2 = *(const int16_t *)(const void *)in2;
        const int32_t half = (x1 * factor1 + x2 * factor2 + 1) >> 1;
        *(int16_t *)(void *)out = ef_clamp_s16(ef_rdbpot(half, shift), low, high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_add_s16(const ef_add_shifted_args *a, const int16_t *in1, const int16_t *in2, int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      add_row, a);
}

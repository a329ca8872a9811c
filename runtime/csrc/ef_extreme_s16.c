#include "ef_extreme.h"

static EF_OUT_OF_LINE void extreme_row(const void *args, const int8_t *in1, int32_t step1,
                                       const int8_t *in2, int32_t step2, int8_t *out,
                                       int32_t count)
{
    const int32_t flip = ((const ef_extreme_args *)args)->flip;
    for (const int8_t *end = out + count; out != end; out += sizeof(int16_t)) {
        const int32_t first = *(const int16_t *)(const void *)in1 ^ flip;
        const int32_t second = *(const int16_t *)(const void *)in2 ^ flip;
        *(int16_t *)(void *)out = (int16_t)((first > second ? first : second) ^ flip);
        in1 += step1;
        in2 += step2;
    }
}

void ef_extreme_s16(const ef_extreme_args *a, const int16_t *in1, const int16_t *in2, int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      extreme_row, a);
}

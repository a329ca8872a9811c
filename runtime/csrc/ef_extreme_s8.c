#include "ef_extreme.h"

static EF_OUT_OF_LINE void extreme_row(const void *args, const int8_t *in1, int32_t step1,
                                       const int8_t *in2, int32_t step2, int8_t *out,
                                       int32_t count)
{
    const int32_t flip = ((const ef_extreme_args *)args)->flip;
    for (; count > 0; count--) {
        const int32_t first = *in1 ^ flip;
        const int32_t second = *in2 ^ flip;
        *out++ = (int8_t)((first > second ? first : second) ^ flip);
        in1 += step1;
        in2 += step2;
    }
}

void ef_extreme_s8(const ef_extreme_args *a, const int8_t *in1, const int8_t *in2, int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, extreme_row, a);
}

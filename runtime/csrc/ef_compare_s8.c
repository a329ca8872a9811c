#include "ef_compare.h"

static EF_OUT_OF_LINE void compare_row(const void *args, const int8_t *in1, int32_t step1,
                                       const int8_t *in2, int32_t step2, int8_t *out,
                                       int32_t count)
{
    const int32_t accepted = ((const ef_compare_args *)args)->accepted;
    for (; count > 0; count--) {
        const int32_t order = (*in1 > *in2) - (*in1 < *in2);
        *out++ = (int8_t)((accepted >> (order + 1)) & 1);
        in1 += step1;
        in2 += step2;
    }
}

void ef_compare_s8(const ef_compare_args *a, const int8_t *in1, const int8_t *in2, int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, compare_row, a);
}

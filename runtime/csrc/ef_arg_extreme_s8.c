#include "ef_arg_extreme.h"

void ef_arg_extreme_s8(const ef_arg_extreme_args *a, const int8_t *in, int8_t *out)
{
    for (int32_t o = 0; o < a->outer; o++) {
        for (int32_t i = 0; i < a->inner; i++) {
            *out++ = (int8_t)(ef_arg_extreme_index(a, in + i) - a->offset);
        }
        in += a->axis * a->inner;
    }
}

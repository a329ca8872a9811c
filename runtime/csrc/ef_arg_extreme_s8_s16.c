#include "ef_arg_extreme.h"

void ef_arg_extreme_s8_s16(const ef_arg_extreme_args *a, const int8_t *in, int16_t *out)
{
    for (int32_t o = 0; o < a->outer; o++) {
        for (int32_t i = 0; i < a->inner; i++) {
            *out++ = (int16_t)(ef_arg_extreme_index(a, in + i) - a->offset);
        }
        in += a->axis * a->inner;
    }
}

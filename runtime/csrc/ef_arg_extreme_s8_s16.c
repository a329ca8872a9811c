#include "ef_arg_extreme.h"

void ef_arg_extreme_s8_s16(const ef_arg_extreme_args *a, const int8_t *in, int16_t *out)
{
    for (int32_t o = 0; o < a->outer; o++) {
        for (int32_t i = 0; i < a->inner; i++) {
            const int8_t *value = in + i;
            int32_t best = *value ^ a->flip;
            int32_t found = 0;
            for (int32_t index = 1; index < a->axis; index++) {
                value += a->inner;
                if ((*value ^ a->flip) > best) {
                    best = *value ^ a->flip;
                    found = index;
                }
            }
            *out++ = (int16_t)(found - a->offset);
        }
        in += a->axis * a->inner;
    }
}

#include <stddef.h>

#include "ef_numerics.h"
#include "ef_scan.h"
#include "ef_wide.h"

void ef_running_sum_s16(const ef_scan_args *a, const int8_t *additions, int8_t *out)
{
    int16_t *const states = (int16_t *)(void *)out;
    const int16_t *before = NULL;
    for (uint32_t i = 0; i < a->steps; i++) {
        const uint32_t first = (a->reverse ? a->steps - 1u - i : i) * a->width;
        int16_t *state = states + first;
        for (uint32_t k = 0; k < a->width; k++) {
            const int32_t b =
                ef_scan_value(additions, first + k, a->wide_additions) - a->addition_zero_point;
            const int32_t added =
                ef_saturate_s16(ef_requantize(b, a->addition_multiplier, a->addition_shift));
            state[k] = (int16_t)ef_saturate_s16(before == NULL ? added : before[k] + added);
        }
        before = state;
    }
}

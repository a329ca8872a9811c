#include "ef_clamp_outputs.h"
#include "ef_numerics.h"

void ef_clamp_outputs(const ef_conv2d_args *a, int8_t *out, uint32_t count)
{
    const int32_t low = a->clamp_min;
    const int32_t high = a->clamp_max;
    if (high - low == 255) {
        return;
    }
    for (const int8_t *end = out + count; out != end; out++) {
        *out = ef_clamp_s8(*out, low, high);
    }
}

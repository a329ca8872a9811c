#include "ef_linear.h"
#include "ef_saturate.h"

void ef_linear_s8(const ef_linear_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t multiplier = (uint32_t)a->multiplier;
    const uint32_t offset = (uint32_t)a->offset;
    const int32_t shift = a->shift;
    for (const int8_t *end = in + a->count; in != end; in++) {
        const uint32_t sum = (uint32_t)(int32_t)*in * multiplier + offset;
        *out++ = ef_saturate_s8((int32_t)sum >> shift);
    }
}

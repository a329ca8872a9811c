#include "ef_linear.h"
#include "ef_saturate.h"

static inline int8_t linear(int8_t x, uint32_t multiplier, uint32_t offset, int32_t shift)
{
    return ef_saturate_s8((int32_t)((uint32_t)(int32_t)x * multiplier + offset) >> shift);
}

void ef_linear_s8(const ef_linear_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t multiplier = (uint32_t)a->multiplier;
    const uint32_t offset = (uint32_t)a->offset;
    const int32_t shift = a->shift;
    const int8_t *const end = in + a->count;
    const int8_t *const end_of_fours = end - (a->count & 3);
    while (in != end_of_fours) {
        out[0] = linear(in[0], multiplier, offset, shift);
        out[1] = linear(in[1], multiplier, offset, shift);
        out[2] = linear(in[2], multiplier, offset, shift);
        out[3] = linear(in[3], multiplier, offset, shift);
        in += 4;
        out += 4;
    }
    while (in != end) {
        *out++ = linear(*in++, multiplier, offset, shift);
    }
}

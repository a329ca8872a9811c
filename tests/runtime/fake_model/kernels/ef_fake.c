#include "ef_fake.h"

void ef_fake_scale(const int8_t *weights, uint32_t count, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = (int8_t)(((int32_t)weights[i] * in[i]) >> 7);
    }
}

void ef_fake_reverse(uint32_t count, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = in[count - 1U - i];
    }
}

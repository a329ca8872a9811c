#include <string.h>

#include "ef_take.h"

void ef_take_s8(const ef_take_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t block = a->block;
    for (uint32_t o = 0; o < a->outer; o++) {
        if (block == 1) {
            for (uint32_t i = 0; i < a->count; i++) {
                *out++ = in[a->indices[i]];
            }
        } else {
            for (uint32_t i = 0; i < a->count; i++) {
                memcpy(out, in + a->indices[i] * block, block);
                out += block;
            }
        }
        in += a->axis_bytes;
    }
}

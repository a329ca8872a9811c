#include "ef_weights.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint32_t bits = weights->bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1u;
    const uint8_t *data = (const uint8_t *)weights->data + (first / 8) * bits;
    uint8_t *bytes = (uint8_t *)out;
    uint32_t skip = (first % 8) * bits;
    uint32_t buffer = 0;
    uint32_t held = 0;

    (void)lut;
    data += skip / 8;
    skip %= 8;
    if (skip != 0 && count != 0) {
        buffer = (uint32_t)*data++ >> skip;
        held = 8 - skip;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (held < bits) {
            buffer |= (uint32_t)*data++ << held;
            held += 8;
        }
        bytes[i] = weights->table[buffer & mask];
        buffer >>= bits;
        held -= bits;
    }
}

const ef_decoder ef_decoder_bytes = {NULL, decode};

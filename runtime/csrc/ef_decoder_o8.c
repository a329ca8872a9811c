#include "ef_weights.h"

static int32_t value(const uint8_t *table, uint32_t code)
{
    const int32_t byte = table[code];
    return byte < 128 ? byte : byte - 256;
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint32_t bits = weights->bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1u;
    const uint8_t *data = (const uint8_t *)weights->data + (first / 8) * bits;
    uint16_t *halves = (uint16_t *)out;
    uint32_t buffer = 0;
    uint32_t held = 0;

    (void)lut;
    for (uint32_t pair = 0; pair < count / 2; pair++) {
        while (held < 2 * bits) {
            buffer |= (uint32_t)*data++ << held;
            held += 8;
        }
        const int32_t b = value(weights->table, buffer & mask);
        const int32_t a = value(weights->table, (buffer >> bits) & mask);
        halves[pair] = (uint16_t)(256 * a + b);
        buffer >>= 2 * bits;
        held -= 2 * bits;
    }
}

const ef_decoder ef_decoder_o8 = {NULL, decode};

#include "ef_weights.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 2;
    const uint8_t *table = weights->table;
    uint8_t *bytes = (uint8_t *)out;
    uint8_t *end = bytes + count;

    (void)lut;
    while (bytes != end) {
        const uint32_t pair = *data++;
        bytes[0] = table[pair & 15u];
        bytes[1] = table[pair >> 4];
        bytes += 2;
    }
}

const ef_decoder ef_decoder_bytes_4bit = {NULL, decode};

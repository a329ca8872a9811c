#include "ef_weights.h"

/* lut[byte] = value of its low code, value of its high code */
static void prepare(const ef_weights *weights, void *lut)
{
    uint16_t *pair = (uint16_t *)lut;
    for (uint32_t high = 0; high < 16; high++) {
        const uint32_t upper = (uint32_t)weights->table[high] << 8;
        for (uint32_t low = 0; low < 16; low++) {
            *pair++ = (uint16_t)(upper | weights->table[low]);
        }
    }
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 2;
    const uint16_t *pairs = (const uint16_t *)lut;
    uint16_t *to = (uint16_t *)out;

    for (uint16_t *end = to + count / 2; to != end; to += 2, data += 2) {
        const uint32_t first_pair = pairs[data[0]];
        const uint32_t second_pair = pairs[data[1]];
        to[0] = (uint16_t)first_pair;
        to[1] = (uint16_t)second_pair;
    }
}

const ef_decoder ef_decoder_bytes_4bit = {prepare, decode};

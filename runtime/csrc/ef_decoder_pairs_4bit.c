#include "ef_weights.h"

static uint32_t value(const ef_weights *weights, uint32_t code)
{
    return ((uint32_t)weights->table[code] ^ 128u) - 128u;
}

static void prepare(const ef_weights *weights, void *lut)
{
    uint32_t *word = (uint32_t *)lut;
    uint32_t low[16];
    for (uint32_t code = 0; code < 16; code++) {
        low[code] = value(weights, code) & 0xFFFFu;
    }
    for (uint32_t code = 0; code < 16; code++) {
        const uint32_t high = value(weights, code) << 16;
        for (uint32_t other = 0; other < 16; other += 4) {
            word[0] = high | low[other];
            word[1] = high | low[other + 1];
            word[2] = high | low[other + 2];
            word[3] = high | low[other + 3];
            word += 4;
        }
    }
}

const ef_decoder ef_decoder_pairs_4bit = {prepare, NULL};

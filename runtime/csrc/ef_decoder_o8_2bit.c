#include "ef_weights.h"

/* 256 * value(a) + value(b) of a pair of codes (b, a) */
static uint32_t half(const uint8_t *table, uint32_t pair)
{
    const uint32_t a = table[pair >> 2];
    const uint32_t b = table[pair & 3u];
    /* a negative low byte borrows from the high one */
    return (256u * a + b - ((b & 128u) << 1)) & 0xFFFFu;
}

/* lut[byte]: the word of its four codes */
static void prepare(const ef_weights *weights, void *lut)
{
    uint32_t *word = (uint32_t *)lut;
    uint32_t low[16];
    for (uint32_t pair = 0; pair < 16; pair++) {
        low[pair] = half(weights->table, pair);
    }
    for (uint32_t high = 0; high < 16; high++) {
        for (uint32_t pair = 0; pair < 16; pair++) {
            *word++ = low[pair] | low[high] << 16;
        }
    }
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 4;
    const uint32_t *table = (const uint32_t *)lut;
    uint32_t *words = (uint32_t *)out;
    for (uint32_t *end = words + count / 4; words != end; words += 4, data += 4) {
        const uint32_t word0 = table[data[0]];
        const uint32_t word1 = table[data[1]];
        const uint32_t word2 = table[data[2]];
        const uint32_t word3 = table[data[3]];
        words[0] = word0;
        words[1] = word1;
        words[2] = word2;
        words[3] = word3;
    }
}

const ef_decoder ef_decoder_o8_2bit = {prepare, decode};

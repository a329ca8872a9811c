#include "ef_weights.h"

/* lut[byte] = 256 * value(high index) + value(low index) */
static void prepare(const ef_weights *weights, void *lut)
{
    uint16_t *half = (uint16_t *)lut;
    for (uint32_t a = 0; a < 16; a++) {
        const uint32_t high = (uint32_t)weights->table[a] << 8;
        for (uint32_t b = 0; b < 16; b++) {
            const uint32_t low = weights->table[b];
            /* a negative low byte borrows from the high one */
            *half++ = (uint16_t)(high + low - ((low & 128u) << 1));
        }
    }
}

static inline uint32_t two_halves(const uint16_t *halves, const uint8_t *data)
{
    return halves[data[0]] | (uint32_t)halves[data[1]] << 16;
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 2;
    const uint16_t *halves = (const uint16_t *)lut;
    uint32_t *words = (uint32_t *)out;
    uint32_t *end = words + count / 4;

    for (; words != end; words += 4, data += 8) {
        const uint32_t word0 = two_halves(halves, data);
        const uint32_t word1 = two_halves(halves, data + 2);
        const uint32_t word2 = two_halves(halves, data + 4);
        const uint32_t word3 = two_halves(halves, data + 6);
        words[0] = word0;
        words[1] = word1;
        words[2] = word2;
        words[3] = word3;
    }
}

const ef_decoder ef_decoder_o8_4bit = {prepare, decode};

#include "ef_weights.h"

/* lut[four codes] = the word of their two pairs (b, a): halves 256 * value(a) + value(b) */
static void prepare(const ef_weights *weights, void *lut)
{
    uint32_t *word = (uint32_t *)lut;
    uint32_t half[4];
    for (uint32_t pair = 0; pair < 4; pair++) {
        const uint32_t a = weights->table[pair >> 1];
        const uint32_t b = weights->table[pair & 1u];
        /* a negative low byte borrows from the high one */
        half[pair] = (256u * a + b - ((b & 128u) << 1)) & 0xFFFFu;
    }
    for (uint32_t i = 0; i < 16; i++) {
        *word++ = half[i & 3u] | half[i >> 2] << 16;
    }
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 8;
    const uint32_t *fours = (const uint32_t *)lut;
    uint32_t *words = (uint32_t *)out;
    for (uint32_t *end = words + count / 4; words != end; words += 4, data += 2) {
        const uint32_t low = data[0];
        const uint32_t high = data[1];
        words[0] = fours[low & 15u];
        words[1] = fours[low >> 4];
        words[2] = fours[high & 15u];
        words[3] = fours[high >> 4];
    }
}

const ef_decoder ef_decoder_o8_1bit = {prepare, decode};

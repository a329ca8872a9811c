#include "ef_weights.h"

/* lut[four codes] = their values */
static void prepare(const ef_weights *weights, void *lut)
{
    const uint32_t value[2] = {weights->table[0], weights->table[1]};
    uint32_t *word = (uint32_t *)lut;
    for (uint32_t i = 0; i < 16; i++) {
        *word++ = value[i & 1u] | value[(i >> 1) & 1u] << 8 | value[(i >> 2) & 1u] << 16 |
                  value[i >> 3] << 24;
    }
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 8;
    const uint32_t *fours = (const uint32_t *)lut;
    uint32_t *to = (uint32_t *)out;
    uint32_t left = count / 4;

    if ((first & 4u) != 0 && left != 0) {
        *to++ = fours[*data++ >> 4];
        left--;
    }
    for (; left >= 2; left -= 2, to += 2) {
        const uint32_t byte = *data++;
        to[0] = fours[byte & 15u];
        to[1] = fours[byte >> 4];
    }
    if (left != 0) {
        *to = fours[*data & 15u];
    }
}

const ef_decoder ef_decoder_bytes_1bit = {prepare, decode};

#include "ef_weights.h"

/* lut[byte] = the values of its four codes */
static void prepare(const ef_weights *weights, void *lut)
{
    uint32_t *word = (uint32_t *)lut;
    uint32_t pair[16];
    for (uint32_t i = 0; i < 16; i++) {
        pair[i] = weights->table[i & 3u] | (uint32_t)weights->table[i >> 2] << 8;
    }
    for (uint32_t high = 0; high < 16; high++) {
        const uint32_t upper = pair[high] << 16;
        for (uint32_t low = 0; low < 16; low++) {
            *word++ = upper | pair[low];
        }
    }
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 4;
    const uint32_t *fours = (const uint32_t *)lut;
    uint32_t *to = (uint32_t *)out;
    uint32_t *const end = to + count / 4;

    if ((count & 4u) != 0) {
        *to++ = fours[*data++];
    }
    for (; to != end; to += 2, data += 2) {
        const uint32_t first_four = fours[data[0]];
        const uint32_t second_four = fours[data[1]];
        to[0] = first_four;
        to[1] = second_four;
    }
}

const ef_decoder ef_decoder_bytes_2bit = {prepare, decode};

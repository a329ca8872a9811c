#include "ef_simd.h"
#include "ef_weights.h"

/* lut[two codes] = the half word of their pair (b, a): 256 * value(a) + value(b) */
static void prepare(const ef_weights *weights, void *lut)
{
    uint16_t *half = (uint16_t *)lut;
    for (uint32_t a = 0; a < 8; a++) {
        const uint32_t high = 256u * weights->table[a];
        for (uint32_t b = 0; b < 8; b++) {
            const uint32_t low = weights->table[b];
            /* a negative low byte borrows from the high one */
            *half++ = (uint16_t)(high + low - ((low & 128u) << 1));
        }
    }
}

static inline uint32_t word_of(const uint16_t *halves, uint32_t codes)
{
    return halves[codes & 63u] | (uint32_t)halves[(codes >> 6) & 63u] << 16;
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 8 * 3;
    const uint16_t *halves = (const uint16_t *)lut;
    uint32_t *words = (uint32_t *)out;
    for (uint32_t *end = words + count / 4; words != end; words += 4, data += 6) {
        const uint32_t low = ef_load_word(data); /* bytes 0 to 3, of which 3 are used */
        const uint32_t high = ef_load_word(data + 2) >> 8;
        words[0] = word_of(halves, low);
        words[1] = word_of(halves, low >> 12);
        words[2] = word_of(halves, high);
        words[3] = word_of(halves, high >> 12);
    }
}

const ef_decoder ef_decoder_o8_3bit = {prepare, decode};

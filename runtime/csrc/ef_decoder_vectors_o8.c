#include "ef_simd.h"
#include "ef_weights.h"

#define CHANNELS 4u

/* 4 taps of two channels as two words 256 * a + b: taps (0, 2), then (1, 3). */
static inline void write_words(uint32_t a, uint32_t b, uint32_t *to)
{
    const uint32_t low = ef_sxtb16(b);
    const uint32_t high = ef_sxtb16_odd(b);
    /* a negative b borrows from its a, and only from that */
    to[0] = ef_add16((a & 0x00FF00FFu) << 8, low);
    to[2] = ef_add16(a & 0xFF00FF00u, high);
}

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint32_t width = weights->width;
    const uint8_t *code = (const uint8_t *)weights->data + first / width;
    const uint8_t *table = weights->table;
    uint32_t *to = (uint32_t *)out;

    (void)lut;
    for (const uint32_t *end = to + count / 4; to != end; to += CHANNELS) {
        uint32_t taps[CHANNELS];
        if (width == 4) {
            taps[0] = ef_load_word(table + 4u * code[0]);
            taps[1] = ef_load_word(table + 4u * code[1]);
            taps[2] = ef_load_word(table + 4u * code[2]);
            taps[3] = ef_load_word(table + 4u * code[3]);
            code += CHANNELS;
        } else if (width == 8) {
            const uint32_t second = (uint32_t)(to - (uint32_t *)out) & CHANNELS;
            for (uint32_t c = 0; c < CHANNELS; c++) {
                taps[c] = ef_load_word(table + 8u * code[c] + second);
            }
            code += second;
        } else {
            for (uint32_t c = 0; c < CHANNELS; c++) {
                uint8_t both[4];
                memcpy(both, table + 2u * code[c], 2);
                memcpy(both + 2, table + 2u * code[c + CHANNELS], 2);
                taps[c] = ef_load_word(both);
            }
            code += 2 * CHANNELS;
        }
        write_words(taps[0], taps[1], to);
        write_words(taps[2], taps[3], to + 1);
    }
}

const ef_decoder ef_decoder_vectors_o8 = {NULL, decode};

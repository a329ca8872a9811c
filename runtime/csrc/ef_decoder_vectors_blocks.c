#include "ef_weights.h"

#define CHANNELS 4u

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint32_t width = weights->width;
    const uint8_t *code = (const uint8_t *)weights->data + first / width;
    uint8_t *to = (uint8_t *)out;
    (void)lut;
    for (const uint8_t *end = to + count; to != end; to += CHANNELS * width) {
        for (uint32_t c = 0; c < CHANNELS; c++) {
            const uint8_t *vector = weights->table + *code++ * width;
            for (uint32_t i = 0; i < width; i++) {
                to[CHANNELS * i + c] = vector[i];
            }
        }
    }
}

const ef_decoder ef_decoder_vectors_blocks = {NULL, decode};

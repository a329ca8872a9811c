#include "ef_huffman.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    ef_huffman *h = (ef_huffman *)(uintptr_t)lut; /* scratch: no constant to its owner */
    const uint8_t *stream = ef_huffman_stream(weights);
    ef_huffman_reader reader = ef_huffman_seek(weights, h, first, count);
    uint16_t *halves = (uint16_t *)out;
    for (uint16_t *end = halves + count / 2; halves != end; halves++) {
        ef_huffman_refill(&reader, stream);
        const uint32_t b = ef_huffman_next(&reader, h->lut) & 0xFFu;
        const uint32_t a = ef_huffman_next(&reader, h->lut) << 8;
        *halves = (uint16_t)(a + (b ^ 0x80u) - 0x80u); /* b is signed */
    }
    h->reader = reader;
}

const ef_decoder ef_decoder_huffman_o8 = {ef_huffman_prepare, decode};

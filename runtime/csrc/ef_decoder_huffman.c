#include "ef_huffman.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    ef_huffman *h = (ef_huffman *)(uintptr_t)lut; /* scratch: no constant to its owner */
    const uint8_t *stream = ef_huffman_stream(weights);
    ef_huffman_reader reader = ef_huffman_seek(weights, h, first, count);
    uint8_t *bytes = (uint8_t *)out;
    for (uint8_t *end = bytes + (count & ~(uint32_t)1); bytes != end; bytes += 2) {
        ef_huffman_refill(&reader, stream);
        bytes[0] = (uint8_t)ef_huffman_next(&reader, h->lut);
        bytes[1] = (uint8_t)ef_huffman_next(&reader, h->lut);
    }
    if (count % 2 != 0) {
        ef_huffman_refill(&reader, stream);
        bytes[0] = (uint8_t)ef_huffman_next(&reader, h->lut);
    }
    h->reader = reader;
}

const ef_decoder ef_decoder_huffman = {ef_huffman_prepare, decode};

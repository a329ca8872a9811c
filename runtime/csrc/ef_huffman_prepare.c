#include "ef_huffman.h"

static void restart(const ef_weights *weights, ef_huffman *h)
{
    h->reader.at = 0;
    h->reader.end = ef_huffman_stream_bytes((const uint8_t *)weights->data);
    h->reader.buffer = 0;
    h->reader.held = 0;
    h->next = 0;
}

void ef_huffman_prepare(const ef_weights *weights, void *scratch)
{
    ef_huffman *h = (ef_huffman *)scratch;
    const uint8_t *counts = (const uint8_t *)weights->data + EF_HUFFMAN_LENGTH_BYTES;
    const uint32_t mask = ((uint32_t)1 << weights->bits) - 1u;
    uint32_t filled = 0;
    uint32_t place = 0;
    for (uint32_t length = 1; length <= EF_HUFFMAN_MOST_BITS; length++) {
        const uint32_t copies = (uint32_t)1 << (EF_HUFFMAN_MOST_BITS - length);
        for (uint32_t code = counts[length - 1]; code != 0 && filled + copies <= 256u; code--) {
            const uint32_t entry = weights->table[place++ & mask] | length << 8;
            for (const uint32_t end = filled + copies; filled != end; filled++) {
                h->lut[filled] = (uint16_t)entry;
            }
        }
    }
    /* What is no code, as where there is one value only. */
    for (; filled < 256u; filled++) {
        h->lut[filled] = (uint16_t)(weights->table[0] | EF_HUFFMAN_MOST_BITS << 8);
    }
    restart(weights, h);
}

ef_huffman_reader ef_huffman_seek(const ef_weights *weights, ef_huffman *h, uint32_t first,
                                  uint32_t count)
{
    if (first < h->next) {
        restart(weights, h);
    }
    for (; h->next < first; h->next++) {
        ef_huffman_refill(&h->reader, ef_huffman_stream(weights));
        (void)ef_huffman_next(&h->reader, h->lut);
    }
    h->next = first + count;
    return h->reader;
}

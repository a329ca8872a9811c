/* Weights in Huffman codes: indices into a table of values, each a code of 1 to 8 bits.
 *
 * Format (docs/weight-format.md): `data` is 3 bytes with the length of the stream, low byte first;
 * 8 bytes with the number of codes of 1, 2, ... 8 bits; the stream. A code begins at the most
 * significant bit of a byte. Codes are canonical: counted upwards through the lengths, in the order
 * of the table's values; so the counts say everything.
 *
 * Decoding needs a look-up table by the next 8 bits, and a place in the stream: decoders are asked
 * for runs that follow each other, and begin again from the start where one does not. They read
 * nothing past the stream, whatever its bits are: zeros follow.
 */
#ifndef EF_HUFFMAN_H
#define EF_HUFFMAN_H

#include "ef_weights.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_HUFFMAN_MOST_BITS 8u
#define EF_HUFFMAN_LENGTH_BYTES 3u
#define EF_HUFFMAN_HEADER_BYTES (EF_HUFFMAN_LENGTH_BYTES + EF_HUFFMAN_MOST_BITS)

/* A place in a stream. */
typedef struct ef_huffman_reader {
    uint32_t at;     /* next byte */
    uint32_t end;    /* bytes of the stream */
    uint32_t buffer; /* bits that were read, the next one on top */
    uint32_t held;   /* how many of them are left */
} ef_huffman_reader;

/* What lies in the scratch that prepare is given. */
typedef struct ef_huffman {
    uint16_t lut[256]; /* by the next 8 bits: table byte, 256 * length of the code */
    ef_huffman_reader reader;
    uint32_t next; /* index of the weight that it stands at */
} ef_huffman;

static inline const uint8_t *ef_huffman_stream(const ef_weights *weights)
{
    return (const uint8_t *)weights->data + EF_HUFFMAN_HEADER_BYTES;
}

static inline uint32_t ef_huffman_stream_bytes(const uint8_t *data)
{
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;
}

/* Fills the look-up table and begins at the first weight. `scratch` takes EF_HUFFMAN_LUT_BYTES. */
void ef_huffman_prepare(const ef_weights *weights, void *scratch);

/* The reader at weight `first`, for a run of `count` weights. */
ef_huffman_reader ef_huffman_seek(const ef_weights *weights, ef_huffman *h, uint32_t first,
                                  uint32_t count);

/* At least 16 bits into the buffer: two codes. */
static inline void ef_huffman_refill(ef_huffman_reader *r, const uint8_t *stream)
{
    if (r->held >= 2u * EF_HUFFMAN_MOST_BITS) {
        return;
    }
    if (r->end - r->at >= 2u) {
        const uint32_t bits = (uint32_t)stream[r->at] << 8 | stream[r->at + 1];
        r->buffer |= bits << (16u - r->held);
        r->at += 2u;
    } else if (r->at != r->end) {
        r->buffer |= (uint32_t)stream[r->at] << (24u - r->held);
        r->at++;
    }
    r->held += 16u;
}

/* The next code's entry of the look-up table. */
static inline uint32_t ef_huffman_next(ef_huffman_reader *r, const uint16_t *lut)
{
    const uint32_t entry = lut[r->buffer >> 24];
    const uint32_t length = entry >> 8;
    r->buffer <<= length;
    r->held -= length;
    return entry;
}

/* Weight i, bit by bit: the definition of the format, used by the _ref kernel. */
static inline int8_t ef_huffman_value(const ef_weights *weights, uint32_t i)
{
    const uint8_t *data = (const uint8_t *)weights->data;
    const uint8_t *counts = data + EF_HUFFMAN_LENGTH_BYTES;
    const uint8_t *stream = data + EF_HUFFMAN_HEADER_BYTES;
    const uint32_t bits = 8u * ef_huffman_stream_bytes(data);
    uint32_t at = 0;
    uint32_t byte = weights->table[0];
    for (uint32_t weight = 0; weight <= i; weight++) {
        uint32_t code = 0;  /* bits of the code so far */
        uint32_t first = 0; /* the first code of this length */
        uint32_t place = 0; /* of that code's value in the table */
        for (uint32_t length = 0; length < EF_HUFFMAN_MOST_BITS; length++) {
            const uint32_t bit = at < bits ? ((uint32_t)stream[at / 8] >> (7u - at % 8)) & 1u : 0u;
            code = code << 1 | bit;
            first <<= 1;
            at++;
            if (code - first < counts[length]) {
                const uint32_t index = place + code - first;
                byte = weights->table[index & (((uint32_t)1 << weights->bits) - 1u)];
                break;
            }
            first += counts[length];
            place += counts[length];
        }
    }
    return (int8_t)(byte < 128 ? (int32_t)byte : (int32_t)byte - 256);
}

#ifdef __cplusplus
}
#endif

#endif

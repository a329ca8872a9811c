/* A weight tensor in flash and the decoder that turns a run of it into operands.
 *
 * Format (version 4, docs/weight-format.md): code i of the tensor, in the order that the kernel
 * reads them, is the `bits` bits from bit i * bits on, counted from the least significant bit of
 * data[0] upwards. With 8 bits the code is the value; with 1 to 6 bits it is an index into a table
 * of 2^bits one-byte values. With a `width` of 2, 4 or 8 a code is a byte, an index into a table of
 * 256 vectors of so many consecutive weights. With `gap_bits` the weights are sparse: only those
 * that are not zero are stored, with their relative positions (ef_sparse.h). With a `width` of 0
 * the codes are Huffman codes of 1 to 8 bits (ef_huffman.h).
 * A kernel decodes a run of codes (a few output channels) at a time into its scratch, never a whole
 * tensor.
 *
 * A decoder is a constant that the generated arguments point to, so that an image holds only the
 * decoders that its layers use, and kernels and encodings add up instead of multiplying.
 */
#ifndef EF_WEIGHTS_H
#define EF_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ef_weights;

typedef struct ef_decoder {
    /* Fills the look-up table that `decode` wants, once per call of a kernel. NULL: none. */
    void (*prepare)(const struct ef_weights *weights, void *lut);
    /* Decodes codes [first, first + count) to `out`. What a decoder writes and which `first` and
     * `count` it takes is said where it is declared. */
    void (*decode)(const struct ef_weights *weights, const void *lut, uint32_t first,
                   uint32_t count, void *out);
} ef_decoder;

typedef struct ef_weights {
    const void *data;
    const uint8_t *table;      /* 2^bits or 256 * width bytes; NULL for values as they are */
    const ef_decoder *decoder; /* NULL: the kernel reads `data` as it is */
    uint16_t bits;             /* of a code or of a sparse weight's value */
    uint8_t width;             /* weights per code; 0: codes of different lengths */
    uint8_t gap_bits;          /* of a sparse weight's relative position; 0: all are stored */
} ef_weights;

/* Any bits in 1..6, any first and count; writes one table byte per code. */
extern const ef_decoder ef_decoder_bytes;

/* 4 bits, even first, a count that is a multiple of 4, `out` 2-aligned; writes one table byte per
 * code. The look-up table takes EF_BYTES_4BIT_LUT_BYTES. */
extern const ef_decoder ef_decoder_bytes_4bit;
#define EF_BYTES_4BIT_LUT_BYTES 512

/* The same for 2 bits and 1 bit, first a multiple of 4 and `out` 4-aligned. */
extern const ef_decoder ef_decoder_bytes_2bit;
#define EF_BYTES_2BIT_LUT_BYTES 1024
extern const ef_decoder ef_decoder_bytes_1bit;
#define EF_BYTES_1BIT_LUT_BYTES 64

/* The same for MVE: 4 bits, even first; writes one table byte per code. */
extern const ef_decoder ef_decoder_bytes_4bit_mve;

/* 2 bits, first a multiple of 4; 1 bit, any first. */
extern const ef_decoder ef_decoder_bytes_2bit_mve;
extern const ef_decoder ef_decoder_bytes_1bit_mve;

/* Any bits in 1..6; first and count multiples of 8. Codes come in pairs (b, a); writes one half
 * word 256 * value(a) + value(b) per pair. */
extern const ef_decoder ef_decoder_o8;

/* The same for 4 bits and a count that is a multiple of 16, with a look-up table of
 * EF_O8_4BIT_LUT_BYTES: one load per pair. */
extern const ef_decoder ef_decoder_o8_4bit;
#define EF_O8_4BIT_LUT_BYTES 512

/* The same for 2 bits, with a table of EF_O8_2BIT_LUT_BYTES: one load for two pairs. */
extern const ef_decoder ef_decoder_o8_2bit;
#define EF_O8_2BIT_LUT_BYTES 1024

/* The same for 3 bits, with a table of EF_O8_3BIT_LUT_BYTES: one load per pair. */
extern const ef_decoder ef_decoder_o8_3bit;
#define EF_O8_3BIT_LUT_BYTES 128

/* The same for 1 bit: one load for two pairs. */
extern const ef_decoder ef_decoder_o8_1bit;
#define EF_O8_1BIT_LUT_BYTES 64

/* 4 bits. No decode: prepare fills a table of EF_PAIRS_4BIT_LUT_BYTES, in which the word at a byte of
 * two codes is the pair (value(low), value(high)), for a kernel that looks up two weights
 * at once. */
extern const ef_decoder ef_decoder_pairs_4bit;
#define EF_PAIRS_4BIT_LUT_BYTES 1024

/* Vectors of any width, `first` and `count` multiples of it; writes one table byte per weight, in
 * the order of the codes. */
extern const ef_decoder ef_decoder_vectors;

/* Vectors in blocks [vector of taps][4 channels]; writes table bytes as [tap][4 channels]. */
extern const ef_decoder ef_decoder_vectors_blocks;

/* The same, written as o8 words. The taps of a block are a multiple of 4. */
extern const ef_decoder ef_decoder_vectors_o8;

/* Huffman codes; writes one table byte per code. Runs that follow each other are decoded where the
 * last one ended; any other begins again at the first code. The look-up table, with that place,
 * takes EF_HUFFMAN_LUT_BYTES and is the kernel's scratch. */
extern const ef_decoder ef_decoder_huffman;

/* The same with codes in pairs (b, a), written as o8; count is even. */
extern const ef_decoder ef_decoder_huffman_o8;
#define EF_HUFFMAN_LUT_BYTES 532

/* Code i, one at a time: the definition of the format, used by the _ref kernels. */
static inline uint32_t ef_weights_code(const ef_weights *weights, size_t i)
{
    const uint8_t *data = (const uint8_t *)weights->data;
    uint32_t code = 0;
    for (uint32_t bit = 0; bit < weights->bits; bit++) {
        const size_t position = i * weights->bits + bit;
        code |= (((uint32_t)data[position / 8] >> (position % 8)) & 1u) << bit;
    }
    return code;
}

static inline int8_t ef_weights_value(const ef_weights *weights, size_t i)
{
    uint32_t byte;
    if (weights->width > 1) {
        const uint32_t code = ef_weights_code(weights, i / weights->width);
        byte = weights->table[code * weights->width + i % weights->width];
    } else {
        const uint32_t code = ef_weights_code(weights, i);
        byte = weights->table == NULL ? code : weights->table[code];
    }
    return (int8_t)(byte < 128 ? (int32_t)byte : (int32_t)byte - 256);
}

#ifdef __cplusplus
}
#endif

#endif

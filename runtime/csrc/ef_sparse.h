/* Sparse weights: what pruning left of each output channel (docs/weight-format.md).
 *
 * A row begins with its number of entries, 16 bits, low byte first. An entry is one byte, a gap in
 * the low gap_bits and an index into the table above, and goes gap + 1 taps on; or, with gap_bits 8,
 * a byte with the gap and one with the value. The value 0 only moves, gap + 1 times 2^gap_bits.
 */
#ifndef EF_SPARSE_H
#define EF_SPARSE_H

#include <stdint.h>

#include "ef_weights.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_SPARSE_RAW_GAP_BITS 8u
/* The look-up table of one-byte entries: a word with the steps above and the weight below. */
#define EF_SPARSE_LUT_BYTES 1024

static inline uint32_t ef_sparse_entry_bytes(const ef_weights *weights)
{
    return weights->gap_bits == EF_SPARSE_RAW_GAP_BITS ? 2 : 1;
}

static inline uint32_t ef_sparse_entries(const uint8_t *row)
{
    return row[0] | (uint32_t)row[1] << 8;
}

/* The value of an entry; `*steps` is how far it goes. */
static inline int32_t ef_sparse_entry(const ef_weights *weights, const uint8_t *entry,
                                      uint32_t *steps)
{
    const uint32_t raw = weights->gap_bits == EF_SPARSE_RAW_GAP_BITS;
    const uint32_t gap = entry[0] & (((uint32_t)1 << weights->gap_bits) - 1u);
    const int32_t byte = raw ? entry[1] : weights->table[entry[0] >> weights->gap_bits];
    *steps = (gap + 1) << (byte == 0 ? weights->gap_bits : 0);
    return byte < 128 ? byte : byte - 256;
}

/* Pixels that share the way through a row of a 1x1 convolution. */
#define EF_SPARSE_ROW_PIXELS 4u

/* The sum of products of one-byte entries with the input of one pixel. */
int32_t ef_sparse_dot(const uint8_t *entry, const uint8_t *end, const uint32_t *lut,
                      const int8_t *in);

/* The same for several pixels. */
void ef_sparse_dot_pixels(const uint8_t *entry, const uint8_t *end, const uint32_t *lut,
                          const int8_t *const in[EF_SPARSE_ROW_PIXELS],
                          int32_t sums[EF_SPARSE_ROW_PIXELS]);

/* One weight, found by walking: the definition of the format, used by the _ref kernel. */
static inline int32_t ef_sparse_value(const ef_weights *weights, uint32_t channel, uint32_t tap)
{
    const uint8_t *row = (const uint8_t *)weights->data;
    uint32_t at = 0; /* one past the tap */
    for (; channel != 0; channel--) {
        row += 2 + ef_sparse_entries(row) * ef_sparse_entry_bytes(weights);
    }
    for (uint32_t i = 0; i < ef_sparse_entries(row); i++) {
        uint32_t steps;
        const int32_t value =
            ef_sparse_entry(weights, row + 2 + i * ef_sparse_entry_bytes(weights), &steps);
        at += steps;
        if (at == tap + 1) {
            return value;
        }
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif

/* Weights in Huffman codes that are decoded once, at start-up, into memory of the caller. Kernels
 * then read them as they would read the same bytes in flash.
 *
 * Format (docs/weight-format.md): `stream` is 15 bytes with the number of codes of 1, 2, ... 15 bits,
 * then the codes, the first one at the most significant bit. Codes are canonical: counted upwards
 * through the lengths, in the order of `units`.
 */
#ifndef EF_UNPACK_H
#define EF_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EF_UNPACK_MOST_BITS 15u

/* What is done to every second byte after decoding. */
#define EF_UNPACK_SIGNED_LOW 1u  /* o8 words: the sign of the byte below goes into it */
#define EF_UNPACK_TURNED_SIGN 2u /* digits: the highest bit is turned */

typedef struct ef_packed {
    const uint8_t *stream;
    const uint8_t *units;  /* what the codes stand for, shorter codes first */
    uint32_t stream_bytes; /* with the 15 numbers */
    uint32_t bytes;        /* decoded */
    uint32_t check;        /* FNV-1a of these */
    uint16_t unit_count;
    uint8_t bits; /* of a unit, 1 to 8; units fill bytes from the lowest bit up */
    uint8_t fix;  /* 0 or one of the above */
} ef_packed;

/* Decodes everything to `out`, which takes `bytes` bytes. Whatever the stream holds, nothing is read
 * or written outside of it. Returns 0, or 1 if the bytes are not those that were coded. */
int ef_unpack(const ef_packed *packed, void *out);

#ifdef __cplusplus
}
#endif

#endif

/* What an output channel's sum goes through, from the tables of a convolution's arguments.
 *
 * Plain tables hold a word for the bias, one for the multiplier and a byte for the shift. Packed
 * ones take two bytes less: multipliers begin with the bits 01, which say nothing, and biases rarely
 * need 32 bits. The upper two bits of a multiplier are the lower ones of a code, its third bit is
 * the lowest one of a 24-bit number, 16 bits in `bias` and 8 in `shift`, and the other 23 are the
 * bias. The shift is `packed` + code to the right.
 */
#ifndef EF_CHANNEL_H
#define EF_CHANNEL_H

#include <stdint.h>

#include "ef_conv2d.h"

/* The tables, held in registers: bytes that are written might be anything, arguments too. */
typedef struct ef_channels {
    const void *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    uint32_t packed;
} ef_channels;

typedef struct ef_channel {
    int32_t bias, multiplier;
    int32_t shift; /* > 0 is to the left */
} ef_channel;

static inline ef_channels ef_channels_of(const ef_conv2d_args *a)
{
    ef_channels tables;
    tables.bias = a->bias;
    tables.multiplier = a->multiplier;
    tables.shift = a->shift;
    tables.packed = a->packed;
    return tables;
}

static inline ef_channel ef_channel_at(const ef_channels *tables, uint32_t oc)
{
    ef_channel c;
    const uint32_t word = (uint32_t)tables->multiplier[oc];
    const int32_t byte = tables->shift[oc];
    if (tables->packed == 0) {
        c.bias = ((const int32_t *)tables->bias)[oc];
        c.multiplier = (int32_t)word;
        c.shift = byte;
    } else {
        const uint32_t low = ((const uint16_t *)tables->bias)[oc];
        c.bias = (int32_t)((uint32_t)byte << 16 | low) >> 1;
        c.multiplier = (int32_t)((word & 0x3FFFFFFFu) | 0x40000000u);
        c.shift = -(int32_t)(tables->packed + (word >> 30) + 4u * (low & 1u));
    }
    return c;
}

static inline ef_channel ef_channel_of(const ef_conv2d_args *a, uint32_t oc)
{
    const ef_channels tables = ef_channels_of(a);
    return ef_channel_at(&tables, oc);
}

#endif

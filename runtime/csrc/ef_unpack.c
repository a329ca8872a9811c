#include "ef_unpack.h"

#define FNV_OFFSET 2166136261u
#define FNV_PRIME 16777619u

/* The codes by length: those of `length` bits lie below last[length] when they are read as the top
 * of 16 bits, and the place of a code's unit is the code plus place[length]. */
typedef struct code_table {
    uint32_t last[EF_UNPACK_MOST_BITS + 2u];
    uint32_t place[EF_UNPACK_MOST_BITS + 2u];
} code_table;

static void build(const ef_packed *packed, code_table *table)
{
    uint32_t code = 0;
    uint32_t place = 0;
    for (uint32_t length = 1; length <= EF_UNPACK_MOST_BITS; length++) {
        const uint32_t count = packed->stream[length - 1u];
        table->place[length] = place - code;
        code += count;
        place += count;
        table->last[length] = code << (16u - length);
        code <<= 1;
    }
    /* What is no code gets a place that is none. */
    table->last[EF_UNPACK_MOST_BITS + 1u] = UINT32_MAX;
    table->place[EF_UNPACK_MOST_BITS + 1u] = UINT16_MAX;
}

/* The byte as it is stored in memory, from the unit bits that make it and the byte before. */
static uint32_t fixed(uint32_t byte, uint32_t before, uint32_t fix)
{
    if (fix == EF_UNPACK_SIGNED_LOW) {
        return (byte - (before >> 7)) & 0xFFu;
    }
    return fix == EF_UNPACK_TURNED_SIGN ? byte ^ 0x80u : byte;
}

int ef_unpack(const ef_packed *packed, void *out)
{
    const uint8_t *from = packed->stream + EF_UNPACK_MOST_BITS;
    const uint8_t *const end = packed->stream + packed->stream_bytes;
    uint8_t *to = (uint8_t *)out;
    uint8_t *const last = to + packed->bytes;
    uint32_t buffer = 0; /* bits that were read, the next one on top */
    uint32_t held = 0;   /* how many of them are left */
    uint32_t byte = 0;   /* units that fill no byte yet */
    uint32_t filled = 0; /* bits of it */
    uint32_t before = 0;
    uint32_t second = 0;
    uint32_t check = FNV_OFFSET;
    code_table table;
    build(packed, &table);
    while (to != last) {
        for (; held < 16u; held += 8u) {
            buffer |= from != end ? (uint32_t)*from++ << (24u - held) : 0u;
        }
        const uint32_t window = buffer >> 16;
        uint32_t length = 1;
        while (window >= table.last[length]) {
            length++;
        }
        const uint32_t place = (window >> (16u - length)) + table.place[length];
        if (place >= packed->unit_count) {
            return 1;
        }
        buffer <<= length;
        held -= length;
        byte |= (uint32_t)packed->units[place] << filled;
        filled += packed->bits;
        if (filled >= 8u) {
            const uint32_t whole = byte & 0xFFu;
            const uint32_t stored = second != 0u ? fixed(whole, before, packed->fix) : whole;
            byte >>= 8;
            filled -= 8u;
            before = whole;
            second ^= 1u;
            check = (check ^ stored) * FNV_PRIME;
            *to++ = (uint8_t)stored;
        }
    }
    return check != packed->check;
}

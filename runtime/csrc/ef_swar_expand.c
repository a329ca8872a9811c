#include "ef_swar.h"

uint32_t ef_swar_expand(const int8_t *in, uint32_t count, uint8_t *to)
{
    const uint8_t *from = (const uint8_t *)in;
    uint8_t *const end = to + count;
    uint8_t *const end_of_fours = end - count % 4;
    uint32_t sum = 0;
    while (to != end_of_fours) {
        const uint32_t x0 = from[0] ^ 0x80u;
        const uint32_t x1 = from[1] ^ 0x80u;
        const uint32_t x2 = from[2] ^ 0x80u;
        const uint32_t x3 = from[3] ^ 0x80u;
        to[0] = (uint8_t)x0;
        to[1] = (uint8_t)x1;
        to[2] = (uint8_t)x2;
        to[3] = (uint8_t)x3;
        sum += x0 + x1 + x2 + x3;
        from += 4;
        to += 4;
    }
    while (to != end) {
        const uint32_t x0 = *from++ ^ 0x80u;
        *to++ = (uint8_t)x0;
        sum += x0;
    }
    return sum;
}

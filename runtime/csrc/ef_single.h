/* IEEE single precision in integers: what the reciprocal square roots of ef_root.h are made of. */
#ifndef EF_SINGLE_H
#define EF_SINGLE_H

#include <stdint.h>

#define EF_SINGLE_ONE 0x800000u /* 2^23: mantissas have 24 bits, [2^23, 2^24) */

/* v = mantissa * 2^exponent, halves to even. */
static inline uint32_t ef_to_single(uint32_t v, int32_t *exponent)
{
    int32_t shift = 0;
    while (v < EF_SINGLE_ONE) {
        v <<= 1;
        shift--;
    }
    if (v >= 2 * EF_SINGLE_ONE) {
        uint32_t mantissa = v;
        while (mantissa >= 2 * EF_SINGLE_ONE) {
            mantissa >>= 1;
            shift++;
        }
        const uint32_t half = (uint32_t)1 << (shift - 1);
        const uint32_t rest = v & (2 * half - 1);
        if (rest > half || (rest == half && (mantissa & 1u) != 0)) {
            mantissa++;
        }
        if (mantissa == 2 * EF_SINGLE_ONE) {
            mantissa = EF_SINGLE_ONE;
            shift++;
        }
        v = mantissa;
    }
    *exponent = shift;
    return v;
}

/* sqrt(mantissa * 2^23), or of twice that, rounded to the nearest: 24 bits, at most 2^24.
 * The upper 12 by digits, the lower 12 by a division (Zimmermann 1999, "Karatsuba square root"). */
static inline uint32_t ef_single_root(uint32_t mantissa, int32_t twice)
{
    uint32_t bits = (twice != 0 ? mantissa : mantissa >> 1) << 8;
    const uint32_t below = twice != 0 ? 0 : (mantissa & 1u) << 11;
    uint32_t q = 0;
    uint32_t rest = 0;
    for (int32_t i = 0; i < 12; i++) {
        const uint32_t trial = (q << 2) | 1u;
        rest = (rest << 2) | (bits >> 30);
        bits <<= 2;
        q <<= 1;
        if (rest >= trial) {
            rest -= trial;
            q |= 1u;
        }
    }
    const uint32_t dividend = (rest << 12) | below;
    const uint32_t low = dividend / (2 * q);
    int32_t left = (int32_t)((dividend - low * 2 * q) << 12) - (int32_t)(low * low);
    q = (q << 12) + low;
    if (left < 0) {
        q--;
        left += (int32_t)(2 * q + 1);
    }
    /* (q + 1/2)^2 is no integer: there are no halves. */
    return left > (int32_t)q ? q + 1 : q;
}

/* 2^47 / x, rounded to the nearest, for x in [2^23, 2^24]; it is never a half. */
static inline uint32_t ef_single_reciprocal(uint32_t x)
{
    uint32_t quotient = 0;
    uint32_t rest = EF_SINGLE_ONE;
    if (x == EF_SINGLE_ONE) {
        return 2 * EF_SINGLE_ONE;
    }
    for (int32_t i = 0; i < 3; i++) {
        const uint32_t digit = (rest << 8) / x;
        rest = (rest << 8) - digit * x;
        quotient = (quotient << 8) | digit;
    }
    return 2 * rest > x ? quotient + 1 : quotient;
}

#endif

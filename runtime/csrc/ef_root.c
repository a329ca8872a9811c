#include "ef_root.h"

#define ONE 0x800000u /* 2^23: mantissas have 24 bits, [2^23, 2^24) */

/* v = mantissa * 2^exponent, halves to even. */
static uint32_t to_single(uint32_t v, int32_t *exponent)
{
    int32_t shift = 0;
    while (v < ONE) {
        v <<= 1;
        shift--;
    }
    if (v >= 2 * ONE) {
        uint32_t mantissa = v;
        while (mantissa >= 2 * ONE) {
            mantissa >>= 1;
            shift++;
        }
        const uint32_t half = (uint32_t)1 << (shift - 1);
        const uint32_t rest = v & (2 * half - 1);
        if (rest > half || (rest == half && (mantissa & 1u) != 0)) {
            mantissa++;
        }
        if (mantissa == 2 * ONE) {
            mantissa = ONE;
            shift++;
        }
        v = mantissa;
    }
    *exponent = shift;
    return v;
}

/* sqrt(mantissa * 2^23), or of twice that, rounded to the nearest: 24 bits, at most 2^24.
 * The upper 12 by digits, the lower 12 by a division (Zimmermann 1999, "Karatsuba square root"). */
static uint32_t root(uint32_t mantissa, int32_t twice)
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
static uint32_t reciprocal(uint32_t x)
{
    uint32_t quotient = 0;
    uint32_t rest = ONE;
    if (x == ONE) {
        return 2 * ONE;
    }
    for (int32_t i = 0; i < 3; i++) {
        const uint32_t digit = (rest << 8) / x;
        rest = (rest << 8) - digit * x;
        quotient = (quotient << 8) | digit;
    }
    return 2 * rest > x ? quotient + 1 : quotient;
}

int32_t ef_reciprocal_root(int32_t v)
{
    int32_t exponent;
    const uint32_t mantissa = to_single((uint32_t)v, &exponent);
    const int32_t twice = 1 - (exponent & 1);
    /* v = (mantissa * 2^(23 + twice)) * 2^(exponent - 23 - twice), the latter an even power */
    const int32_t half = (exponent - 23 - twice) / 2;
    /* 2^22 * reciprocal * 2^-47 * 2^-half; half is in [-23, -8] */
    return (int32_t)(reciprocal(root(mantissa, twice)) >> (25 + half));
}

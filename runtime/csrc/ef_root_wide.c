#include "ef_root.h"
#include "ef_single.h"

/* Bits from the highest 1 on; v is not 0. */
static int32_t bits_of(uint64_t v)
{
    uint32_t word = (uint32_t)(v >> 32);
    int32_t bits = 32;
    if (word == 0) {
        word = (uint32_t)v;
        bits = 0;
    }
#if defined(__ARM_FEATURE_CLZ) && defined(__GNUC__)
    return bits + 32 - __builtin_clz(word);
#else
    for (; word != 0; word >>= 1) {
        bits++;
    }
    return bits;
#endif
}

uint64_t ef_round_single(uint64_t v)
{
    const int32_t shift = v != 0 ? bits_of(v) - 24 : 0;
    if (shift <= 0) {
        return v;
    }
    const uint64_t half = (uint64_t)1 << (shift - 1);
    const uint64_t even = (v >> shift) & 1u;
    return (v + half - 1 + even) >> shift << shift;
}

int32_t ef_reciprocal_root_wide(uint64_t v, int32_t bits)
{
    int32_t exponent;
    int32_t fours = 0;
    /* Two bits are left below the 24 of a mantissa; the lowest stands for all that was there. */
    const int32_t bits_left = bits_of(v);
    if (bits_left > 28) {
        fours = (bits_left - 27) / 2;
        const uint64_t rest = v & (((uint64_t)1 << (2 * fours)) - 1);
        v = (v >> (2 * fours)) | (rest != 0 ? 1u : 0u);
    }
    const uint32_t mantissa = ef_to_single((uint32_t)v, &exponent);
    const int32_t twice = 1 - (exponent & 1);
    /* v = (mantissa * 2^(23 + twice)) * 2^(exponent - 23 - twice), the latter an even power */
    const int32_t half = (exponent - 23 - twice) / 2 + fours;
    const int32_t right = 47 + half - bits;
    const uint32_t inverse = ef_single_reciprocal(ef_single_root(mantissa, twice));
    if (right < 0) {
        return (int32_t)(inverse << -right);
    }
    return (int32_t)(right < 32 ? inverse >> right : 0);
}

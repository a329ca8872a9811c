#include "ef_root.h"
#include "ef_single.h"

uint64_t ef_round_single(uint64_t v)
{
    int32_t shift = 0;
    while ((v >> shift) >= 2 * EF_SINGLE_ONE) {
        shift++;
    }
    if (shift == 0) {
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
    while ((v >> 28) != 0) {
        v = (v >> 2) | ((v & 3u) != 0 ? 1u : 0u);
        fours++;
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

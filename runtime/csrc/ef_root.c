#include "ef_root.h"
#include "ef_single.h"

int32_t ef_reciprocal_root(int32_t v)
{
    int32_t exponent;
    const uint32_t mantissa = ef_to_single((uint32_t)v, &exponent);
    const int32_t twice = 1 - (exponent & 1);
    /* v = (mantissa * 2^(23 + twice)) * 2^(exponent - 23 - twice), the latter an even power */
    const int32_t half = (exponent - 23 - twice) / 2;
    /* 2^22 * reciprocal * 2^-47 * 2^-half; half is in [-23, -8] */
    return (int32_t)(ef_single_reciprocal(ef_single_root(mantissa, twice)) >> (25 + half));
}

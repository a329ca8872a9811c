/* The reciprocal root of a group of int16 codes, for its norm. */
#ifndef EF_NORMALIZE_ROOT_H
#define EF_NORMALIZE_ROOT_H

#include "ef_normalize_s16.h"
#include "ef_numerics.h"
#include "ef_root.h"

/* From the factor of the group's differences and the sum of their squares. */
static inline int32_t ef_normalize_root(const ef_normalize_s16_args *a, int32_t factor,
                                        uint64_t squares)
{
    int32_t idle = ef_requantize(factor, a->epsilon_multiplier, a->epsilon_shift);
    idle = idle > INT16_MAX ? INT16_MAX : idle;
    const uint64_t v = ef_round_single(squares) +
                       (ef_round_single((uint64_t)((int64_t)idle * idle + 1)) << (2 * a->epsilon_bits));
    return (ef_reciprocal_root_wide(v, a->root_bits) + 1) / 2;
}

#endif

/* The rest of a fused activation, for kernels that saturate to int16 only. */
#ifndef EF_CLAMP_ROW_S16_H
#define EF_CLAMP_ROW_S16_H

#include "ef_simd.h"
#include "ef_wide.h"

/* Two values at least 0. */
static inline uint32_t ef_relu_pair(uint32_t values)
{
#if EF_HAS_DSP
    uint32_t result;
    __asm__("usat16 %0, #15, %1" : "=r"(result) : "r"(values));
    return result;
#else
    return ef_pack(ef_low(values) < 0 ? 0 : ef_low(values), ef_high(values) < 0 ? 0 : ef_high(values));
#endif
}

/* Nothing is done where the range is int16's; at least 0 goes fastest. */
static inline void ef_clamp_row_s16(int16_t *row, uint32_t count, int32_t low, int32_t high)
{
    if (high == INT16_MAX && low == INT16_MIN) {
        return;
    }
    if (high == INT16_MAX && low == 0) {
        for (; count >= 4; count -= 4) {
            ef_store_word(row, ef_relu_pair(ef_load_word(row)));
            ef_store_word(row + 2, ef_relu_pair(ef_load_word(row + 2)));
            row += 4;
        }
    }
    for (const int16_t *end = row + count; row != end; row++) {
        *row = ef_clamp_s16(*row, low, high);
    }
}

#endif

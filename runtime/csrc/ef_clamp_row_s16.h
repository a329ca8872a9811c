/* The rest of a fused activation, for kernels that saturate to int16 only. */
#ifndef EF_CLAMP_ROW_S16_H
#define EF_CLAMP_ROW_S16_H

#include "ef_simd.h"
#include "ef_wide.h"

/* Two values within two limits, which words hold twice. */
static inline uint32_t ef_clamp_pair(uint32_t values, uint32_t lows, uint32_t highs)
{
#if EF_HAS_DSP
    uint32_t difference;
    __asm__("ssub16 %0, %1, %2\n"
            "sel %1, %1, %2\n"
            "ssub16 %0, %1, %3\n"
            "sel %1, %3, %1\n"
            : "=&r"(difference), "+&r"(values)
            : "r"(lows), "r"(highs)
            : "cc");
    return values;
#else
    return ef_pack(ef_clamp_s16(ef_low(values), ef_low(lows), ef_low(highs)),
                   ef_clamp_s16(ef_high(values), ef_low(lows), ef_low(highs)));
#endif
}

/* Nothing is done where the range is int16's. */
static inline void ef_clamp_row_s16(int16_t *row, uint32_t count, int32_t low, int32_t high)
{
    if (high - low == 65535) {
        return;
    }
#if EF_WORDS_PAY
    const uint32_t lows = ef_pack(low, low);
    const uint32_t highs = ef_pack(high, high);
    for (; count >= 4; count -= 4) {
        ef_store_word(row, ef_clamp_pair(ef_load_word(row), lows, highs));
        ef_store_word(row + 2, ef_clamp_pair(ef_load_word(row + 2), lows, highs));
        row += 4;
    }
#endif
    for (const int16_t *end = row + count; row != end; row++) {
        *row = ef_clamp_s16(*row, low, high);
    }
}

#endif

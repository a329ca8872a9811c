#include "ef_simd.h"
#include "ef_softmax_s16.h"

static int32_t row_maximum(const int16_t *row, uint32_t depth)
{
    const int16_t *const end = row + depth;
    int32_t largest = *row;
#if EF_HAS_DSP
    uint32_t both = ef_pack(largest, largest);
    for (uint32_t pairs = depth / 2; pairs != 0; pairs--) {
        uint32_t difference;
        __asm__("ssub16 %0, %1, %2\n"
                "sel %1, %1, %2\n"
                : "=&r"(difference), "+&r"(both)
                : "r"(ef_load_word(row))
                : "cc");
        row += 2;
    }
    largest = ef_low(both) > ef_high(both) ? ef_low(both) : ef_high(both);
#endif
    for (; row != end; row++) {
        largest = *row > largest ? *row : largest;
    }
    return largest;
}

void ef_softmax_s16(const ef_softmax_s16_args *a, const int16_t *in, int16_t *out)
{
    for (uint32_t row = 0; row < a->rows; row++) {
        /* Shares are at most 2^15: they wait where the results will be. */
        uint16_t *const shares = (uint16_t *)out;
        const int32_t largest = row_maximum(in, a->depth);
        uint32_t total = 0;
        for (uint32_t i = 0; i < a->depth; i++) {
            const uint32_t distance = (uint32_t)(largest - in[i]);
            const uint32_t coarse = distance >> 8;
            uint32_t share = 0;
            if (coarse < a->coarse_entries) {
                const uint32_t power = (uint32_t)a->coarse[coarse] * a->fine[distance & 255u];
                share = (power + ((uint32_t)1 << 14)) >> 15;
            }
            shares[i] = (uint16_t)share;
            total += share;
        }
        const uint32_t half = total / 2;
        for (uint32_t i = 0; i < a->depth; i++) {
            const uint32_t result = (((uint32_t)shares[i] << 15) + half) / total;
            out[i] = (int16_t)(result > 32767u ? 32767u : result);
        }
        in += a->depth;
        out += a->depth;
    }
}

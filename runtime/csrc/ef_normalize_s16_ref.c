#include "ef_normalize_s16.h"
#include "ef_normalize_root.h"
#include "ef_numerics.h"
#include "ef_wide.h"

#define SCALED_BITS 16

typedef struct {
    int32_t middle; /* what is subtracted from a code */
    int32_t factor; /* what the difference is multiplied by */
    int32_t root;
} group_numbers;

static int32_t mean(const ef_normalize_s16_args *a, const int16_t *in)
{
    const uint32_t pitch = a->groups * a->inner;
    int32_t total = 0;
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            total += in[s * pitch + i];
        }
    }
    return ef_requantize(total, a->mean_multiplier, a->mean_shift);
}

static group_numbers settle(const ef_normalize_s16_args *a, const int16_t *in)
{
    const uint32_t pitch = a->groups * a->inner;
    const int32_t shift = SCALED_BITS - a->square_bits;
    const int32_t half = (int32_t)1 << (shift - 1);
    group_numbers n;
    int32_t largest = a->least;
    uint64_t squares = 0;
    n.middle = a->centered != 0 ? mean(a, in) : 0;
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            const int32_t x = in[s * pitch + i] - n.middle;
            const int32_t magnitude = x < 0 ? -x : x;
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    n.factor = ((int32_t)1 << SCALED_BITS) / largest;
    for (uint32_t s = 0; s < a->steps; s++) {
        for (uint32_t i = 0; i < a->inner; i++) {
            const int32_t y = (in[s * pitch + i] - n.middle) * n.factor;
            const uint32_t z = (uint32_t)((y < 0 ? -y : y) + half) >> shift;
            squares += z * z;
        }
    }
    n.root = ef_normalize_root(a, n.factor, squares);
    return n;
}

void ef_normalize_s16_ref(const ef_normalize_s16_args *a, const int16_t *in, int16_t *out)
{
    const uint32_t pitch = a->groups * a->inner;
    for (uint32_t o = 0; o < a->outer; o++) {
        for (uint32_t g = 0; g < a->groups; g++) {
            const group_numbers n = settle(a, in + g * a->inner);
            for (uint32_t s = 0; s < a->steps; s++) {
                for (uint32_t i = 0; i < a->inner; i++) {
                    const uint32_t channel = g * a->inner + i;
                    const uint32_t place = s * pitch + channel;
                    const int32_t product = (in[place] - n.middle) * n.factor * n.root;
                    const int32_t unit = ef_saturate_s16(
                        ef_requantize(product, a->unit_multiplier, a->unit_shift));
                    const int32_t acc = unit * a->gain[channel] + a->offset[channel];
                    out[place] = ef_saturate_s16(ef_requantize(acc, a->multiplier, a->shift));
                }
            }
        }
        in += a->steps * pitch;
        out += a->steps * pitch;
    }
}

#include "ef_normalize.h"
#include "ef_numerics.h"
#include "ef_root.h"
#include "ef_saturate.h"
#include "ef_simd.h"

typedef struct {
    int32_t total, squares;
} sums;

/* Adds up `count` codes and their squares. */
static void add_row(const int8_t *in, uint32_t count, sums *to)
{
    int32_t total = to->total;
    int32_t squares = to->squares;
#if EF_HAS_DSP
    const uint32_t ones = 0x00010001u;
    for (; count >= 4; count -= 4) {
        const uint32_t bytes = ef_load_word(in);
        const uint32_t even = ef_sxtb16(bytes);
        const uint32_t odd = ef_sxtb16_odd(bytes);
        squares = ef_smlad(even, even, squares);
        squares = ef_smlad(odd, odd, squares);
        total = ef_smlad(ef_add16(even, odd), ones, total);
        in += 4;
    }
#endif
    for (const int8_t *end = in + count; in != end; in++) {
        total += *in;
        squares += *in * *in;
    }
    to->total = total;
    to->squares = squares;
}

/* What every code of a group goes through. */
typedef struct {
    int32_t centre; /* 2^7 times what is subtracted */
    int32_t root;
    int32_t unit_multiplier, unit_right;
    int32_t multiplier, right;
    int32_t zero_point;
} steps_of_code;

static inline int32_t saturate_s16(int32_t value)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value));
    return result;
#else
    return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
#endif
}

#if defined(__ARM_ARCH_6M__)
/* No 32 x 32 -> 64 multiply here: the general requantization has it in parts. */
static void normalize_row(const steps_of_code *s, const int8_t *in, uint32_t count,
                          const int16_t *gain, const int32_t *offset, int8_t *out)
{
    for (const int8_t *end = in + count; in != end; in++) {
        const int32_t product = (*in * 128 - s->centre) * s->root;
        const int32_t unit =
            saturate_s16(ef_requantize(product, s->unit_multiplier, -s->unit_right));
        const int32_t acc = unit * *gain++ + *offset++;
        *out++ = ef_saturate_s8(ef_requantize(acc, s->multiplier, -s->right) + s->zero_point);
    }
}
#else
static void normalize_row(const steps_of_code *s, const int8_t *in, uint32_t count,
                          const int16_t *gain, const int32_t *offset, int8_t *out)
{
    const int32_t twice_root = 2 * s->root;
    const int32_t centre = s->centre;
    const int32_t unit_multiplier = s->unit_multiplier;
    const int32_t unit_right = s->unit_right;
    const int32_t unit_half = (int32_t)1 << (unit_right - 1);
    const int32_t multiplier = s->multiplier;
    const int32_t right = s->right;
    const int32_t half_and_zero_point =
        (int32_t)((uint32_t)(2 * s->zero_point + 1) << (right - 1));
    for (const int8_t *end = in + count; in != end; in++) {
        const int32_t product = ef_smmulr((*in * 128 - centre) * twice_root, unit_multiplier);
        /* the sign takes halves away from zero */
        const int32_t unit = saturate_s16((product + (product >> 31) + unit_half) >> unit_right);
        const int32_t acc = unit * *gain++ + *offset++;
        *out++ = (int8_t)ef_requantize_doubled(2 * acc, multiplier, half_and_zero_point, right);
    }
}
#endif

/* Mean and root of a group from its sums. With x the code less `middle`:
 * sum of x^2 = squares - 2 * middle * total + count * middle^2. */
static void settle(const ef_normalize_args *a, const sums *found, steps_of_code *s)
{
    const int32_t count = (int32_t)(a->steps * a->inner);
    int32_t middle = a->zero_point;
    int32_t v = a->epsilon + found->squares;
    int32_t fraction = 0;
    if (a->centered != 0) {
        middle = ef_requantize(found->total, a->mean_multiplier, a->mean_shift);
        const int32_t rest = found->total - count * middle;
        v -= ef_requantize(rest * rest, a->mean_multiplier, a->mean_shift);
        fraction = ef_requantize(rest, a->mean_multiplier, a->mean_shift + 7);
    }
    v += middle * (count * middle - 2 * found->total);
    s->centre = middle * 128 + fraction;
    s->root = ef_reciprocal_root(v);
}

void ef_normalize_s8(const ef_normalize_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t pitch = a->groups * a->inner;
    steps_of_code s;
    s.unit_multiplier = a->unit_multiplier;
    s.unit_right = -a->unit_shift;
    s.multiplier = a->multiplier;
    s.right = -a->shift;
    s.zero_point = a->out_zero_point;
    for (uint32_t o = 0; o < a->outer; o++) {
        for (uint32_t g = 0; g < a->groups; g++) {
            const int8_t *from = in + g * a->inner;
            int8_t *to = out + g * a->inner;
            sums found = {0, 0};
            for (uint32_t step = 0; step < a->steps; step++) {
                add_row(from + step * pitch, a->inner, &found);
            }
            settle(a, &found, &s);
            for (uint32_t step = 0; step < a->steps; step++) {
                normalize_row(&s, from + step * pitch, a->inner, a->gain + g * a->inner,
                              a->offset + g * a->inner, to + step * pitch);
            }
        }
        in += a->steps * pitch;
        out += a->steps * pitch;
    }
}

#include "ef_mul.h"
#include "ef_saturate.h"
#include "ef_simd.h"

/* floor(((x1 - zero1) * (x2 - zero2) * multiplier + 2^30) / 2^31) */
static inline int32_t scaled_product(int32_t x1, int32_t zero1, int32_t x2, int32_t zero2,
                                     int32_t multiplier)
{
#if defined(__ARM_ARCH_6M__)
    /* No 32 x 32 -> 64 multiply here: multiplier = high * 2^16 + middle * 2 + odd, and the sums
     * below stay within 32 bits because high and middle are at most 2^15 - 1. */
    const int32_t product = (x1 - zero1) * (x2 - zero2);
    const int32_t high = multiplier >> 16;
    const int32_t middle = (multiplier >> 1) & 0x7FFF;
    const int32_t odd = (multiplier & 1) != 0 ? product >> 1 : 0;
    return (product * high + (1 << 14) + ((product * middle + odd) >> 15)) >> 15;
#else
    /* Doubled, so that the result is the upper word. */
    const int32_t doubled = (x1 * 2 - zero1 * 2) * (x2 - zero2);
    return ef_smmulr(doubled, multiplier);
#endif
}

static inline int8_t multiply(int8_t x1, int32_t zero1, int8_t x2, int32_t zero2,
                              int32_t multiplier, int32_t constant, int32_t right)
{
    const int32_t scaled = scaled_product(x1, zero1, x2, zero2, multiplier);
    /* The sign makes halves round away from zero; `constant` is the half and the zero point. */
    return ef_saturate_s8((scaled + (scaled >> 31) + constant) >> right);
}

#if EF_HAS_DSP
/* Four elements at a time, while there are four; returns how many. */
static int32_t multiply_fours(const ef_mul_args *a, const int8_t *in1, int32_t step1,
                              const int8_t *in2, int32_t step2, int8_t *out, int32_t count)
{
    const uint32_t repeated1 = (uint8_t)*in1 * 0x01010101u;
    const uint32_t repeated2 = (uint8_t)*in2 * 0x01010101u;
    const uint32_t zero1 = ef_pack(-2 * a->zero_point1, -2 * a->zero_point1);
    const uint32_t zero2 = ef_pack(-a->zero_point2, -a->zero_point2);
    const int32_t multiplier = a->multiplier;
    const int32_t right = -a->shift;
    const int32_t constant = (2 * a->out_zero_point + 1) * (1 << (right - 1));
    const int32_t fours = count & ~3;
    if (step1 == 0) {
        in1 = (const int8_t *)&repeated1;
    }
    if (step2 == 0) {
        in2 = (const int8_t *)&repeated2;
    }
    for (const int8_t *end = out + fours; out != end; out += 4) {
        const uint32_t x1 = ef_load_word(in1);
        const uint32_t x2 = ef_load_word(in2);
        const uint32_t even1 = ef_sxtab16(ef_sxtab16(zero1, x1), x1);
        const uint32_t odd1 = ef_sxtab16_odd(ef_sxtab16_odd(zero1, x1), x1);
        const uint32_t even2 = ef_sxtab16(zero2, x2);
        const uint32_t odd2 = ef_sxtab16_odd(zero2, x2);
        in1 += 4 * step1;
        in2 += 4 * step2;
        out[0] = (int8_t)ef_requantize_doubled(ef_low(even1) * ef_low(even2), multiplier, constant,
                                               right);
        out[1] = (int8_t)ef_requantize_doubled(ef_low(odd1) * ef_low(odd2), multiplier, constant,
                                               right);
        out[2] = (int8_t)ef_requantize_doubled(ef_high(even1) * ef_high(even2), multiplier,
                                               constant, right);
        out[3] = (int8_t)ef_requantize_doubled(ef_high(odd1) * ef_high(odd2), multiplier,
                                               constant, right);
    }
    return fours;
}
#endif

static EF_OUT_OF_LINE void multiply_row(const void *args, const int8_t *in1, int32_t step1,
                                        const int8_t *in2, int32_t step2, int8_t *out,
                                        int32_t count)
{
    const ef_mul_args *a = (const ef_mul_args *)args;
    const int32_t zero1 = a->zero_point1;
    const int32_t zero2 = a->zero_point2;
    const int32_t multiplier = a->multiplier;
    const int32_t right = -a->shift;
    const int32_t constant = a->out_zero_point * (1 << right) + (1 << (right - 1));
    int8_t *const start = out;
    int32_t left = count;
#if EF_HAS_DSP
    const int32_t done = multiply_fours(a, in1, step1, in2, step2, out, count);
    in1 += done * step1;
    in2 += done * step2;
    out += done;
    left -= done;
#endif
    for (; left > 0; left--) {
        *out++ = multiply(*in1, zero1, *in2, zero2, multiplier, constant, right);
        in1 += step1;
        in2 += step2;
    }
    ef_clamp_row_s8(start, count, a->low, a->high);
}

void ef_mul_s8(const ef_mul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, multiply_row, a);
}

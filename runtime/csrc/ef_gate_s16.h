/* Sigmoid, hyperbolic tangent and SiLU of int16 tensors, interpolated from a table of the logistic
 * function: TFLite's int16 kernels. `out` may be `in`. */
#ifndef EF_GATE_S16_H
#define EF_GATE_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* (in * multiplier + half) >> shift counts 1 / (3 * 4096), so that 512 steps are 1/24. */
typedef struct ef_gate_s16_args {
    int32_t count;
    int32_t multiplier; /* below 2^15 */
    int32_t shift;      /* 0..30 */
    const uint16_t *table; /* 65536 / (1 + exp(-j / 24)) for j in 0..255 */
    int32_t product_multiplier; /* SiLU: from in * gate to the output, as ef_requantize takes it */
    int32_t product_shift;
} ef_gate_s16_args;

/* Outputs at 1/32768. */
void ef_logistic_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out);
void ef_tanh_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out);

/* in * logistic(in) */
void ef_silu_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out);

static inline int32_t ef_gate_scale(const ef_gate_s16_args *a, int32_t x)
{
    const int32_t half = a->shift > 0 ? 1 << (a->shift - 1) : 0;
    return (x * a->multiplier + half) >> a->shift;
}

/* The table at x >> bits, interpolated by the bits below: 2^bits times as much. */
static inline int32_t ef_gate_interpolate(const uint16_t *table, uint32_t x, uint32_t bits,
                                          int32_t beyond)
{
    const uint32_t index = x >> bits;
    if (index >= 255u) {
        return beyond;
    }
    const uint32_t base = table[index];
    return (int32_t)((base << bits) + (x & ((1u << bits) - 1u)) * (table[index + 1u] - base));
}

static inline int32_t ef_gate_logistic(const ef_gate_s16_args *a, int32_t in)
{
    const int32_t x = ef_gate_scale(a, in);
    const uint32_t size = (uint32_t)(x < 0 ? -x : x);
    const int32_t value = ef_gate_interpolate(a->table, size, 9, 0x7FFF << 10);
    return (x >= 0 ? value + (1 << 9) : (1 << 25) - value + (1 << 9) - 1) >> 10;
}

#ifdef __cplusplus
}
#endif

#endif

#include "ef_numerics.h"
#include "ef_requantize.h"
#include "ef_row_s16.h"

static inline int32_t term(const void *args, uint32_t x, uint32_t y, int32_t high)
{
    (void)args;
    (void)y;
    return (high ? ef_high(x) : ef_low(x)) + 1;
}

/* Times a power of two below 1. */
static EF_OUT_OF_LINE void shift_right(const ef_requantize_args *a, const int16_t *in, int16_t *out)
{
    const int8_t *from = (const int8_t *)in;
    const ef_row_s16 row = {from, from, 2, 2, (int8_t *)out, 2 * a->count, -a->shift, a->low, a->high};
    ef_row_s16_run(&row, term, NULL);
}

static EF_OUT_OF_LINE void shift_left(const ef_requantize_args *a, const int16_t *in, int16_t *out)
{
    const int32_t left = a->shift - 1;
    for (int16_t *const end = out + a->count; out != end; out++) {
        *out = ef_saturate_s16(*in++ * ((int32_t)1 << left));
    }
}

static EF_OUT_OF_LINE void scale(const ef_requantize_args *a, const int16_t *in, int16_t *out)
{
    const int32_t multiplier = a->multiplier;
    const int32_t shift = a->shift;
    for (int16_t *const end = out + a->count; out != end; out++) {
        *out = ef_saturate_s16(ef_requantize(*in++, multiplier, shift));
    }
}

void ef_requantize_s16(const ef_requantize_args *a, const int16_t *in, int16_t *out)
{
    const int32_t is_power = a->multiplier == (int32_t)1 << 30;
    if (is_power && a->shift < 0) {
        shift_right(a, in, out);
        return;
    }
    if (!is_power || a->shift == 0) {
        scale(a, in, out);
    } else if (a->shift > 1) {
        shift_left(a, in, out);
    } else if (in != out) {
        memcpy(out, in, (uint32_t)a->count * sizeof *out);
    }
    ef_clamp_row_s16(out, (uint32_t)a->count, a->low, a->high);
}

#include "ef_gates.h"
#include "ef_numerics.h"

typedef struct point {
    int32_t value; /* the input in steps */
    int32_t line;  /* sigmoid of its magnitude; -1 beyond the table */
} point;

static point on_curve(const ef_curve *curve, int32_t value, int32_t fraction_bits)
{
    const int32_t half = curve->shift > 0 ? (int32_t)1 << (curve->shift - 1) : 0;
    point p;
    p.value = (value * curve->multiplier + half) >> curve->shift;
    const int32_t size = p.value < 0 ? -p.value : p.value;
    const int32_t index = size >> fraction_bits;
    p.line = -1;
    if (index < 255) {
        const int32_t low = ef_gates_knots[index];
        const int32_t rest = size & (((int32_t)1 << fraction_bits) - 1);
        p.line = (low << fraction_bits) + rest * (ef_gates_knots[index + 1] - low);
    }
    return p;
}

int32_t ef_gates_logistic(const ef_curve *curve, int32_t value)
{
    const point p = on_curve(curve, value, 9);
    const int32_t line = p.line < 0 ? 0x7FFF << 10 : p.line;
    return (p.value >= 0 ? line + 512 : (1 << 25) - line + 511) >> 10;
}

int32_t ef_gates_tanh(const ef_curve *curve, int32_t value)
{
    const point p = on_curve(curve, value, 8);
    const int32_t above = (p.line < 0 ? 0xFFFF << 8 : p.line) - (1 << 23);
    return (p.value >= 0 ? above + 128 : 127 - above) >> 8;
}

int32_t ef_gates_product(int32_t first, int32_t second, int32_t bits)
{
    return ef_saturate_s16(ef_rdbpot((first * second + 1) >> 1, bits - 1));
}

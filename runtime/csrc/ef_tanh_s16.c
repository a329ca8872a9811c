#include "ef_gate_s16.h"

void ef_tanh_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out)
{
    for (int16_t *const end = out + a->count; out != end; out++) {
        const int32_t x = ef_gate_scale(a, *in++);
        const uint32_t size = (uint32_t)(x < 0 ? -x : x);
        /* twice the logistic function of twice x, less 1 */
        const int32_t value =
            ef_gate_interpolate(a->table, size, 8, 0xFFFF << 8) - (1 << 23);
        *out = (int16_t)((x >= 0 ? value + (1 << 7) : -value + (1 << 7) - 1) >> 8);
    }
}

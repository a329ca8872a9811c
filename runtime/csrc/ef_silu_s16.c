#include "ef_gate_s16.h"
#include "ef_numerics.h"
#include "ef_wide.h"

void ef_silu_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out)
{
    for (int16_t *const end = out + a->count; out != end; out++) {
        const int32_t x = *in++;
        const int32_t product = x * ef_gate_logistic(a, x);
        *out = ef_saturate_s16(ef_requantize(product, a->product_multiplier, a->product_shift));
    }
}

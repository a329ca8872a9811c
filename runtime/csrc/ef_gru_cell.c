#include "ef_recurrent.h"

void ef_gru_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                 int16_t *cells)
{
    const int32_t zero = a->zero_point;
    const uint32_t units = a->units;
    (void)cells;
    for (uint32_t i = 0; i < units; i++) {
        const int32_t update = ef_gates_logistic(&a->logistic, x[i] + h[i] - 2 * zero);
        const int32_t reset =
            ef_gates_logistic(&a->logistic, x[units + i] + h[units + i] - 2 * zero);
        const int32_t recalled = ef_gates_product(reset, h[2u * units + i] - zero, 15);
        const int32_t fresh = ef_gates_tanh(&a->tanh, x[2u * units + i] - zero + recalled);
        const int32_t kept = ef_gates_product(update, state[i], 15);
        const int32_t added = ef_saturate_s16(fresh - ef_gates_product(update, fresh, 15));
        state[i] = (int16_t)ef_saturate_s16(added + kept);
    }
}

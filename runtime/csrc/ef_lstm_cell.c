#include "ef_recurrent.h"

void ef_lstm_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                  int16_t *cells)
{
    const int32_t zeros = 2 * a->zero_point;
    const uint32_t units = a->units;
    for (uint32_t i = 0; i < units; i++) {
        const uint32_t output = units + i;
        const uint32_t forget = 2u * units + i;
        const uint32_t cell = 3u * units + i;
        const int32_t inlet = ef_gates_logistic(&a->logistic, x[i] + h[i] - zeros);
        const int32_t outlet = ef_gates_logistic(&a->logistic, x[output] + h[output] - zeros);
        const int32_t keep = ef_gates_logistic(&a->logistic, x[forget] + h[forget] - zeros);
        const int32_t offer = ef_gates_tanh(&a->tanh, x[cell] + h[cell] - zeros);
        const int32_t added = ef_gates_product(inlet, offer, 19);
        cells[i] = (int16_t)ef_saturate_s16(ef_gates_product(keep, cells[i], 15) + added);
        state[i] = (int16_t)ef_gates_product(outlet, ef_gates_tanh(&a->cell_tanh, cells[i]), 19);
    }
}

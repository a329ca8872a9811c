#include "ef_recurrent.h"

void ef_rnn_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                 int16_t *cells)
{
    (void)cells;
    for (uint32_t i = 0; i < a->units; i++) {
        state[i] = (int16_t)ef_gates_tanh(&a->tanh, x[i] + h[i] - 2 * a->zero_point);
    }
}

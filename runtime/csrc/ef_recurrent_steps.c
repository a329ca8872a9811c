#include <string.h>

#include "ef_numerics.h"
#include "ef_recurrent.h"

void ef_recurrent_narrow(const int16_t *state, int8_t *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        out[i] = ef_clamp_s8(ef_rdbpot((state[i] + 1) >> 1, 7), INT8_MIN, INT8_MAX);
    }
}

void ef_recurrent_steps(const ef_recurrent_args *a, const int8_t *in, int8_t *out, int16_t *state,
                        int16_t *cells, void *scratch)
{
    int8_t *memory = (int8_t *)scratch;
    int8_t *input = memory + a->input_offset;
    int8_t *result = memory + a->result_offset;
    int8_t *input_gates = memory + a->input_gates_offset;
    int8_t *recurrent_gates = memory + a->recurrent_gates_offset;
    void *kernel = memory + a->kernel_offset;
    ef_recurrent_narrow(state, result, a->units);
    for (uint32_t i = 0; i < a->steps; i++) {
        const uint32_t step = a->reverse ? a->steps - 1u - i : i;
        /* Kernels read words: a copy is aligned whatever the number of inputs. */
        memcpy(input, in + step * a->inputs, a->inputs);
        a->input_kernel(&a->input, input, input_gates, kernel);
        a->recurrent_kernel(&a->recurrent, result, recurrent_gates, kernel);
        a->cell(a, input_gates, recurrent_gates, state, cells);
        ef_recurrent_narrow(state, result, a->units);
        if (a->every_step) {
            memcpy(out + step * a->units, result, a->units);
        }
    }
    if (!a->every_step) {
        memcpy(out, result, a->units);
    }
}

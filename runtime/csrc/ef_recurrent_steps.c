#include <string.h>

#include "ef_numerics.h"
#include "ef_recurrent.h"

/* The state of the hidden units as int8, halves away from zero. */
static void narrow(const ef_recurrent_args *a, const int16_t *state, int8_t *result)
{
    for (uint32_t i = 0; i < a->units; i++) {
        const int32_t rounded = ef_rdbpot((state[i] + 1) >> 1, a->narrowing - 1);
        result[i] = ef_clamp_s8(rounded, INT8_MIN, INT8_MAX);
    }
}

void ef_recurrent_steps(const ef_recurrent_args *a, const int8_t *in, int8_t *results,
                        int16_t *states, void *scratch)
{
    int8_t *memory = (int8_t *)scratch;
    int16_t *state = (int16_t *)(void *)((char *)scratch + a->state_offset);
    int8_t *input = memory + a->input_offset;
    int8_t *result = memory + a->result_offset;
    int8_t *input_gates = memory + a->input_gates_offset;
    int8_t *recurrent_gates = memory + a->recurrent_gates_offset;
    void *kernel = memory + a->kernel_offset;
    narrow(a, state, result);
    for (uint32_t i = 0; i < a->steps; i++) {
        const uint32_t step = a->reverse ? a->steps - 1u - i : i;
        /* Kernels read words: a copy is aligned whatever the number of inputs. */
        memcpy(input, in + step * a->inputs, a->inputs);
        a->input_kernel(&a->input, input, input_gates, kernel);
        a->recurrent_kernel(&a->recurrent, result, recurrent_gates, kernel);
        a->cell(a, input_gates, recurrent_gates, state, state + a->units);
        narrow(a, state, result);
        if (a->every_step || i + 1u == a->steps) {
            const uint32_t place = a->every_step ? step * a->units : 0u;
            if (results != NULL) {
                memcpy(results + place, result, a->units);
            } else {
                memcpy(states + place, state, 2u * a->units);
            }
        }
    }
}

/* Recurrent layers: GRU, LSTM and plain, one direction, batch 1, as loops over the steps of a
 * sequence. export/functions/recurrence.py defines the arithmetic.
 *
 * A step multiplies its input and the last result with the weights, both by kernels of dense layers
 * (ef_conv2d.h) into gate inputs at one quantization; a cell then moves the states. The states are
 * 16 bits wide, results and gate inputs 8 bits.
 */
#ifndef EF_RECURRENT_H
#define EF_RECURRENT_H

#include <stdint.h>

#include "ef_conv2d.h"
#include "ef_gates.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ef_recurrent_args;

typedef void (*ef_dense)(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Moves the states by a step. x, h: gate inputs from the input and from the last result, blocks of
 * `units`; state: of the hidden units, 2^-15, with LSTM 2^-11; cells: of LSTM cells, 2^-11. */
typedef void (*ef_cell)(const struct ef_recurrent_args *a, const int8_t *x, const int8_t *h,
                        int16_t *state, int16_t *cells);

typedef struct ef_recurrent_args {
    ef_conv2d_args input;     /* [inputs] to [gates * units] */
    ef_conv2d_args recurrent; /* [units] to [gates * units] */
    ef_dense input_kernel;
    ef_dense recurrent_kernel;
    ef_cell cell;
    ef_curve logistic;  /* of a sum of gate inputs */
    ef_curve tanh;      /* likewise */
    ef_curve cell_tanh; /* of the state of LSTM cells */
    /* Where things lie in scratch, in bytes, each a multiple of 4. */
    uint32_t state_offset; /* of the hidden units and, behind it, of LSTM cells */
    uint32_t input_offset; /* a copy of the step's input, aligned */
    uint32_t result_offset;
    uint32_t input_gates_offset;
    uint32_t recurrent_gates_offset;
    uint32_t kernel_offset;
    uint16_t steps;
    uint16_t inputs;
    uint16_t units;
    int16_t zero_point; /* of gate inputs */
    uint8_t state_vectors; /* of `units`: 2 with LSTM, else 1 */
    uint8_t narrowing;  /* bits by which a result is shorter than the state */
    uint8_t reverse;    /* from the last step to the first */
    uint8_t every_step; /* whether `out` holds all steps or the last one only */
} ef_recurrent_args;

/* From states of zeros. in: [steps][inputs]; out: [steps][units], or [units]. */
void ef_recurrent_s8(const ef_recurrent_args *a, const int8_t *in, int8_t *out, void *scratch);

/* From the states at `first`: [units] or, with LSTM, [2][units] of hidden units and cells. out: the
 * states of the hidden units where the other has results, then the last one of the cells. */
void ef_recurrent_states_s8(const ef_recurrent_args *a, const int8_t *in, const int16_t *first,
                            int16_t *out, void *scratch);

/* The loop itself, from the states in scratch, which it leaves changed. One of `results` and
 * `states` is where it writes, the other NULL. */
void ef_recurrent_steps(const ef_recurrent_args *a, const int8_t *in, int8_t *results,
                        int16_t *states, void *scratch);

void ef_gru_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                 int16_t *cells);
void ef_lstm_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                  int16_t *cells);
void ef_rnn_cell(const ef_recurrent_args *a, const int8_t *x, const int8_t *h, int16_t *state,
                 int16_t *cells);

#ifdef __cplusplus
}
#endif

#endif

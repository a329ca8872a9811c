#include "ef_move.h"

void ef_move_s8_ref(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    uint32_t total = 1;
    for (uint32_t axis = 0; axis < EF_MOVE_AXES; axis++) {
        total *= a->count[axis];
    }
    for (uint32_t i = 0; i < total; i++) {
        uint32_t left = i;
        uint32_t from = a->in_start;
        uint32_t to = a->out_start;
        for (uint32_t axis = EF_MOVE_AXES; axis-- != 0;) {
            const uint32_t index = left % a->count[axis];
            left /= a->count[axis];
            from += index * a->in_step[axis];
            to += index * a->out_step[axis];
        }
        for (uint32_t b = 0; b < a->block; b++) {
            out[to + b] = in[from + b];
        }
    }
}

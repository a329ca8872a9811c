#include <string.h>

#include "ef_recurrent.h"

void ef_recurrent_s8(const ef_recurrent_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    int16_t *state = (int16_t *)((char *)scratch + a->state_offset);
    memset(state, 0, 4u * a->units);
    ef_recurrent_steps(a, in, out, state, state + a->units, scratch);
}

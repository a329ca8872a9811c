#include <string.h>

#include "ef_recurrent.h"

void ef_recurrent_states_s8(const ef_recurrent_args *a, const int8_t *in, const int16_t *first,
                            int16_t *out, void *scratch)
{
    char *state = (char *)scratch + a->state_offset;
    const uint32_t bytes = 2u * a->units;
    const uint32_t all = bytes * a->state_vectors;
    memcpy(state, first, all);
    ef_recurrent_steps(a, in, NULL, out, scratch);
    memcpy(out + (a->every_step ? a->steps : 1u) * a->units, state + bytes, all - bytes);
}

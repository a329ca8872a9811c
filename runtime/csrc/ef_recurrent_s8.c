#include <string.h>

#include "ef_recurrent.h"

void ef_recurrent_s8(const ef_recurrent_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    memset((char *)scratch + a->state_offset, 0, 4u * a->units);
    ef_recurrent_steps(a, in, out, NULL, scratch);
}

#include "ef_gate_s16.h"

void ef_logistic_s16(const ef_gate_s16_args *a, const int16_t *in, int16_t *out)
{
    for (int16_t *const end = out + a->count; out != end; out++) {
        *out = (int16_t)ef_gate_logistic(a, *in++);
    }
}

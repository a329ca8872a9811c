#include "ef_table_s16.h"

void ef_table_s16(const ef_table_s16_args *a, const int16_t *in, int16_t *out)
{
    const int16_t *const zero = a->table + 256;
    for (int16_t *const end = out + a->count; out != end; out++) {
        const int32_t x = *in++;
        const int16_t *const knot = zero + (x >> 7);
        const int32_t before = knot[0];
        const int32_t line = (knot[1] - before) * (x & 127) + 64;
        *out = (int16_t)(before + (line >> 7));
    }
}

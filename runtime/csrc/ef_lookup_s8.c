#include "ef_lookup.h"

void ef_lookup_s8(const ef_lookup_args *a, const int8_t *in, int8_t *out)
{
    const int8_t *table = a->table;
    for (const int8_t *end = in + a->count; in != end; in++) {
        *out++ = table[(uint8_t)*in];
    }
}

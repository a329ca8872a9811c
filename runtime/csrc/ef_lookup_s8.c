#include "ef_lookup.h"

void ef_lookup_s8(const ef_lookup_args *a, const int8_t *in, int8_t *out)
{
    const int8_t *table = a->table;
    const int8_t *const end = in + a->count;
    const int8_t *const end_of_fours = end - (a->count & 3);
    while (in != end_of_fours) {
        out[0] = table[(uint8_t)in[0]];
        out[1] = table[(uint8_t)in[1]];
        out[2] = table[(uint8_t)in[2]];
        out[3] = table[(uint8_t)in[3]];
        in += 4;
        out += 4;
    }
    while (in != end) {
        *out++ = table[(uint8_t)*in++];
    }
}

#include <string.h>

#include "ef_embed.h"

void ef_embed_s16(const ef_embed_args *a, const int16_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < a->count; i++) {
        int32_t index = in[i] + a->offset;
        index = index > 0 ? index : 0;
        index = index < a->last ? index : a->last;
        memcpy(out, a->table + (uint32_t)index * a->row, a->row);
        out += a->row;
    }
}

#include "ef_move.h"

#include <string.h>

void ef_fill_s8(const ef_fill_args *a, int8_t *out)
{
    memset(out, a->value, a->bytes);
}

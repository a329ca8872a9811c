#include "ef_hardmax.h"

void ef_hardmax_s8(const ef_hardmax_args *a, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < a->rows; row++) {
        int32_t found = 0;
        for (int32_t column = 1; column < a->columns; column++) {
            found = in[column] > in[found] ? column : found;
        }
        for (int32_t column = 0; column < a->columns; column++) {
            out[column] = column == found;
        }
        in += a->columns;
        out += a->columns;
    }
}

#include "ef_shift.h"

void ef_shift_s8_ref(const ef_shift_args *a, const int8_t *in, int8_t *out)
{
    int32_t first = 0;
    for (uint32_t r = 0; r < a->run_count; r++) {
        const int16_t *run = a->runs + r * EF_SHIFT_RUN_NUMBERS;
        for (int32_t y = 0; y < a->height; y++) {
            for (int32_t x = 0; x < a->width; x++) {
                const int32_t from_y = y + run[1];
                const int32_t from_x = x + run[2];
                const int inside =
                    from_y >= 0 && from_y < a->height && from_x >= 0 && from_x < a->width;
                for (int32_t c = first; c < first + run[0]; c++) {
                    out[(y * a->width + x) * a->channels + c] =
                        inside ? in[(from_y * a->width + from_x) * a->channels + c]
                               : a->zero_point;
                }
            }
        }
        first += run[0];
    }
}

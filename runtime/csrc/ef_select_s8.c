#include "ef_select.h"

/* Elements between the start of a row and that of the row with these indices. */
static int32_t row_offset(const int32_t *steps, int32_t i, int32_t j, int32_t k)
{
    return i * steps[0] + j * steps[1] + k * steps[2];
}

void ef_select_s8(const ef_select_args *a, const int8_t *condition, const int8_t *in1,
                  const int8_t *in2, int8_t *out)
{
    const int8_t *const conditions = a->condition != NULL ? a->condition : condition;
    const int8_t *const first = a->constant1 != NULL ? (const int8_t *)a->constant1 : in1;
    const int8_t *const second = a->constant2 != NULL ? (const int8_t *)a->constant2 : in2;
    for (int32_t i = 0; i < a->sizes[0]; i++) {
        for (int32_t j = 0; j < a->sizes[1]; j++) {
            for (int32_t k = 0; k < a->sizes[2]; k++) {
                const int8_t *c = conditions + row_offset(a->condition_steps, i, j, k);
                const int8_t *x = first + row_offset(a->steps1, i, j, k);
                const int8_t *y = second + row_offset(a->steps2, i, j, k);
                for (int32_t n = a->sizes[3]; n > 0; n--) {
                    *out++ = *c != 0 ? *x : *y;
                    c += a->condition_steps[3];
                    x += a->steps1[3];
                    y += a->steps2[3];
                }
            }
        }
    }
}

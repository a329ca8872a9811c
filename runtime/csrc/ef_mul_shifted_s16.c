#include "ef_mul.h"
#include "ef_row_s16.h"

static inline int32_t term(const void *args, uint32_t x, uint32_t y, int32_t high)
{
    (void)args;
    return high ? ef_smlatt(x, y, 1) : ef_smlabb(x, y, 1);
}

static EF_OUT_OF_LINE void multiply_row(const void *args, const int8_t *in1, int32_t step1,
                                        const int8_t *in2, int32_t step2, int8_t *out,
                                        int32_t count)
{
    const ef_mul_args *a = (const ef_mul_args *)args;
    const ef_row_s16 row = {in1, in2, step1, step2, out, count, -a->shift, a->low, a->high};
    ef_row_s16_run(&row, term, NULL);
}

void ef_mul_shifted_s16(const ef_mul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      multiply_row, a);
}

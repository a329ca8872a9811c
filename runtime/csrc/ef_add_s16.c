#include "ef_add.h"
#include "ef_row_s16.h"

static inline int32_t term(const void *args, uint32_t x, uint32_t y, int32_t high)
{
    const uint32_t factors = *(const uint32_t *)args;
    if (high) {
        return ef_smlatt(y, factors, ef_smlatb(x, factors, 1));
    }
    return ef_smlabt(y, factors, ef_smlabb(x, factors, 1));
}

static EF_OUT_OF_LINE void add_row(const void *args, const int8_t *in1, int32_t step1,
                                   const int8_t *in2, int32_t step2, int8_t *out,
                                   int32_t count)
{
    const ef_add_shifted_args *a = (const ef_add_shifted_args *)args;
    const uint32_t factors = ef_pack(a->factor1, a->factor2);
    const ef_row_s16 row = {in1, in2, step1, step2, out, count, a->shift, a->low, a->high};
    ef_row_s16_run(&row, term, &factors);
}

void ef_add_s16(const ef_add_shifted_args *a, const int16_t *in1, const int16_t *in2, int16_t *out)
{
    ef_broadcast_rows(&a->broadcast, (const int8_t *)in1, (const int8_t *)in2, (int8_t *)out,
                      add_row, a);
}

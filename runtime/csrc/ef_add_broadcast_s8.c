#include "ef_add.h"
#include "ef_numerics.h"

static EF_OUT_OF_LINE void add_row(const void *args, const int8_t *in1, int32_t step1,
                                   const int8_t *in2, int32_t step2, int8_t *out,
                                   int32_t count)
{
    const ef_add_form *form = (const ef_add_form *)args;
    const uint32_t multiplier1 = (uint32_t)form->multiplier1;
    const uint32_t multiplier2 = (uint32_t)form->multiplier2;
    const uint32_t offset = (uint32_t)form->offset;
    const int32_t shift = form->shift;
    const int32_t low = form->low;
    const int32_t high = form->high;
    for (; count > 0; count--) {
        const uint32_t total = (uint32_t)(int32_t)*in1 * multiplier1 +
                               (uint32_t)(int32_t)*in2 * multiplier2 + offset;
        *out++ = ef_clamp_s8((int32_t)total >> shift, low, high);
        in1 += step1;
        in2 += step2;
    }
}

void ef_add_broadcast_s8(const ef_add_broadcast_args *a, const int8_t *in1, const int8_t *in2,
                         int8_t *out)
{
    ef_broadcast_rows(&a->broadcast, in1, in2, out, add_row, &a->form);
}

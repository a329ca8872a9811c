#include "ef_add.h"
#include "ef_saturate.h"

static inline int8_t sum(int8_t x1, uint32_t multiplier1, int8_t x2, uint32_t multiplier2,
                         uint32_t offset, int32_t shift)
{
    uint32_t total = (uint32_t)(int32_t)x2 * multiplier2 + offset;
#if defined(__GNUC__)
    /* Keeps the offset the start of a chain of two multiply-accumulates. */
    __asm__("" : "+r"(total));
#endif
    total += (uint32_t)(int32_t)x1 * multiplier1;
    return ef_saturate_s8((int32_t)total >> shift);
}

void ef_add_s8(const ef_add_args *a, const int8_t *in1, const int8_t *in2, int8_t *out)
{
    const uint32_t m1 = (uint32_t)a->form.multiplier1;
    const uint32_t m2 = (uint32_t)a->form.multiplier2;
    const uint32_t offset = (uint32_t)a->form.offset;
    const int32_t shift = a->form.shift;
    int8_t *const end = out + a->count;
    int8_t *const end_of_fours = end - (a->count & 3);
    while (out != end_of_fours) {
        out[0] = sum(in1[0], m1, in2[0], m2, offset, shift);
        out[1] = sum(in1[1], m1, in2[1], m2, offset, shift);
        out[2] = sum(in1[2], m1, in2[2], m2, offset, shift);
        out[3] = sum(in1[3], m1, in2[3], m2, offset, shift);
        in1 += 4;
        in2 += 4;
        out += 4;
    }
    while (out != end) {
        *out++ = sum(*in1++, m1, *in2++, m2, offset, shift);
    }
    ef_clamp_row_s8(end - a->count, a->count, a->form.low, a->form.high);
}

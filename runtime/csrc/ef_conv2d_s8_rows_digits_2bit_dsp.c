#include "ef_digits_2bit.h"
#include "ef_strip_loop.h"

void ef_conv2d_s8_rows_digits_2bit_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                       void *scratch)
{
    static const ef_strip_loop loop = {ef_digits_2bit_begin_block, ef_digits_2bit_pairs,
                                       ef_digits_2bit_offsets, 16};
    ef_convolve_rows(&loop, a, in, out, scratch);
}

#include "ef_strip_loop.h"

void ef_conv2d_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    static const ef_strip_loop loop = {ef_o8_begin_block, ef_o8_pairs, NULL, 4};
    ef_convolve_strips(&loop, a, in, out, scratch);
}

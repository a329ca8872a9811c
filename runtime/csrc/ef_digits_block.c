#include "ef_digits.h"

void ef_digits_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                           ef_o8_block *block)
{
    ef_o8_begin_channels(a, first_channel, count, block);
    block->scale = 2 * ef_digits_step(&a->weights);
}

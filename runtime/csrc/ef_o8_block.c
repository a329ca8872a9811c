#include "ef_o8.h"

void ef_o8_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                       ef_o8_block *block)
{
    ef_o8_begin_channels(a, first_channel, count, block);
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c += 2) {
        const int32_t b = block->start[c + 1] / 2;
        block->start[c] = (int32_t)(128u * (uint32_t)block->start[c] + (uint32_t)b);
        block->start[c + 1] = b;
    }
}

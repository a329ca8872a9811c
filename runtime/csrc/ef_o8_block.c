#include "ef_channel.h"
#include "ef_o8.h"

static inline void begin_channel(const ef_channels *tables, uint32_t oc, uint32_t half_and_zero_point,
                                 ef_o8_block *block, uint32_t c)
{
    const ef_channel table = ef_channel_at(tables, oc);
    const uint32_t right = (uint32_t)-table.shift;
    block->channel[c].multiplier = table.multiplier;
    block->channel[c].offset = (int32_t)(half_and_zero_point << (right - 1));
    block->channel[c].shift = (int32_t)right;
    block->start[c] = table.bias;
}

void ef_o8_begin_channels(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                          ef_o8_block *block)
{
    const ef_channels tables = ef_channels_of(a);
    const uint32_t half_and_zero_point = (uint32_t)(2 * a->out_zero_point + 1);
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
        /* channels that only fill up the block repeat its first one */
        begin_channel(&tables, first_channel + (c < count ? c : 0), half_and_zero_point, block, c);
    }
}

void ef_o8_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                       ef_o8_block *block)
{
    ef_o8_begin_channels(a, first_channel, count, block);
    block->start[0] = (int32_t)(256u * (uint32_t)block->start[0] + (uint32_t)block->start[1]);
    block->start[2] = (int32_t)(256u * (uint32_t)block->start[2] + (uint32_t)block->start[3]);
}

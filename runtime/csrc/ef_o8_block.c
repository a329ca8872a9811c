#include "ef_o8.h"

void ef_o8_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                       ef_o8_block *block)
{
    int32_t bias[EF_O8_CHANNELS] = {0, 0, 0, 0};
    const int32_t half_and_zero_point = 2 * a->out_zero_point + 1;
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
        int32_t multiplier = 0;
        int32_t shift = 1;
        if (c < count) {
            const uint32_t oc = first_channel + c;
            bias[c] = a->bias[oc];
            multiplier = a->multiplier[oc];
            shift = -a->shift[oc];
        }
        block->channel[c].multiplier = multiplier;
        block->channel[c].offset = half_and_zero_point * (1 << (shift - 1));
        block->channel[c].shift = shift;
    }
    for (uint32_t c = 0; c < EF_O8_CHANNELS; c += 2) {
        block->start[c] = (int32_t)(256u * (uint32_t)bias[c] + (uint32_t)bias[c + 1]);
        block->start[c + 1] = bias[c + 1];
    }
}

#include "ef_digits_2bit.h"

void ef_digits_2bit_begin_block(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                                ef_o8_block *block)
{
    ef_digits_begin_block(a, first_channel, count, block);
    block->interval = ef_digits_2bit_interval(&a->weights);
    block->first_turn = (block->steps - 1) % block->interval + 1;
    block->segment = 4 * block->interval * a->weights.table[4];
    if (block->segment != 0) {
        block->first_segment = (4 * block->steps - 1) % block->segment + 1;
    }
}

void ef_digits_2bit_offsets(const ef_o8_block *block, const ef_weights *weights,
                            const uint32_t *strip, int32_t *offsets)
{
    const int32_t stored_as_0 = weights->table[2];
    ef_digits_sums(block, ef_digits_base(weights), stored_as_0 * ef_digits_step(weights), strip,
                   offsets);
}

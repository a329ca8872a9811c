#include "ef_digits.h"

void ef_digits_offsets(const ef_o8_block *block, const ef_weights *weights, const uint32_t *strip,
                       int32_t *offsets)
{
    ef_digits_sums(block, ef_digits_base(weights), 8 * ef_digits_step(weights), strip, offsets);
}

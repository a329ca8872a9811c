#include "ef_digits.h"

void ef_digits_offsets(const ef_o8_block *block, const ef_weights *weights, const uint32_t *strip,
                       int32_t *offsets)
{
    const uint32_t ones = 0x00010001u;
    const uint32_t base = (uint32_t)(2 * ef_digits_base(weights));
    const uint32_t top = base + (uint32_t)(16 * ef_digits_step(weights));
    const uint32_t *x = strip;
    for (uint32_t pair = 0; pair < block->pairs; pair++) {
        int32_t first = 0;
        int32_t second = 0;
        if (block->strip_step != 0) {
            x = strip + (int32_t)pair * (block->strip_step / 4);
        }
        for (uint32_t row = 0; row < block->rows; row++) {
            x += row == 0 ? 0 : block->row_gap / 4;
            for (const uint32_t *end = x + 4 * (size_t)block->steps; x != end; x += 4) {
                first = ef_smlad(x[0], ones, first);
                second = ef_smlad(x[1], ones, second);
                first = ef_smlad(x[2], ones, first);
                second = ef_smlad(x[3], ones, second);
            }
        }
        offsets[0] = (int32_t)(base * (uint32_t)first);
        offsets[1] = (int32_t)(base * (uint32_t)second);
        offsets[2] = (int32_t)(top * (uint32_t)first);
        offsets[3] = (int32_t)(top * (uint32_t)second);
        offsets += 4;
    }
}

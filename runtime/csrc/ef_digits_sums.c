#include "ef_digits.h"

void ef_digits_sums(const ef_o8_block *block, int32_t base, int32_t more, const uint32_t *strip,
                    int32_t *offsets)
{
    const uint32_t low = (uint32_t)(2 * base);
    const uint32_t top = low + (uint32_t)(2 * more);
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
                first = ef_smlad(x[0], 0x00010001u, first);
                second = ef_smlad(x[1], 0x00010001u, second);
                first = ef_smlad(x[2], 0x00010001u, first);
                second = ef_smlad(x[3], 0x00010001u, second);
            }
        }
        offsets[0] = (int32_t)(low * (uint32_t)first);
        offsets[1] = (int32_t)(low * (uint32_t)second);
        offsets[2] = (int32_t)(top * (uint32_t)first);
        offsets[3] = (int32_t)(top * (uint32_t)second);
        offsets += 4;
    }
}

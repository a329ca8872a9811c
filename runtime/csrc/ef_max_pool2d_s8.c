#include "ef_pool2d.h"
#include "ef_word4.h"

void ef_max_pool2d_s8(const ef_pool2d_args *a, const int8_t *in, int8_t *out)
{
    const int32_t channels = a->channels;
    const int32_t row_bytes = a->in_w * channels;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const ef_pool2d_span rows =
            ef_pool2d_clip(oy, a->stride_h, a->pad_top, a->kernel_h, a->in_h);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const ef_pool2d_span columns =
                ef_pool2d_clip(ox, a->stride_w, a->pad_left, a->kernel_w, a->in_w);
            const int8_t *corner = in + rows.first * row_bytes + columns.first * channels;
            for (int32_t c = 0; c < channels; c += 4) {
                const int8_t *row = corner + c;
                uint32_t best = 0x80808080u;
                for (int32_t y = rows.first; y < rows.end; y++) {
                    const int8_t *source = row;
                    for (int32_t left = columns.end - columns.first; left != 0; left--) {
                        best = ef_word4_max(best, ef_word4_load(source));
                        source += channels;
                    }
                    row += row_bytes;
                }
                ef_word4_store(out, best);
                out += 4;
            }
        }
    }
}

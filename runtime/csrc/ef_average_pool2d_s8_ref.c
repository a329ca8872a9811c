#include "ef_pool2d.h"

void ef_average_pool2d_s8_ref(const ef_pool2d_args *a, const int8_t *in, int8_t *out)
{
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const ef_pool2d_span rows =
            ef_pool2d_clip(oy, a->stride_h, a->pad_top, a->kernel_h, a->in_h);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const ef_pool2d_span columns =
                ef_pool2d_clip(ox, a->stride_w, a->pad_left, a->kernel_w, a->in_w);
            for (int32_t c = 0; c < a->channels; c++) {
                const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
                int32_t sum = 0;
                for (int32_t y = rows.first; y < rows.end; y++) {
                    for (int32_t x = columns.first; x < columns.end; x++) {
                        sum += in[(y * a->in_w + x) * a->channels + c];
                    }
                }
                *out++ = (int8_t)ef_pool2d_mean(sum, count);
            }
        }
    }
}

#include "ef_resize_bilinear.h"

#define ONE 1024

/* The two neighbours of a position along one axis, and the weight of the second. */
typedef struct neighbours {
    int32_t lower, upper;
    int32_t weight;
} neighbours;

static neighbours find_neighbours(int32_t index, int32_t scale, int32_t offset, int32_t size)
{
    neighbours n;
    const int32_t position = index * scale + offset;
    const int32_t above = (position + ONE - 1) / ONE;
    n.lower = position > 0 ? position / ONE : 0;
    n.upper = above < size - 1 ? above : size - 1;
    n.weight = position - n.lower * ONE;
    return n;
}

void ef_resize_bilinear_s8(const ef_resize_bilinear_args *a, const int8_t *in, int8_t *out)
{
    const int32_t channels = a->channels;
    const int32_t row = a->in_w * channels;
    for (int32_t y = 0; y < a->out_h; y++) {
        const neighbours v = find_neighbours(y, a->scale_h, a->offset_h, a->in_h);
        const int8_t *const above = in + v.lower * row;
        const int8_t *const below = in + v.upper * row;
        for (int32_t x = 0; x < a->out_w; x++) {
            const neighbours h = find_neighbours(x, a->scale_w, a->offset_w, a->in_w);
            const int32_t left = h.lower * channels;
            const int32_t right = h.upper * channels;
            const int32_t weight_al = (ONE - v.weight) * (ONE - h.weight);
            const int32_t weight_bl = v.weight * (ONE - h.weight);
            const int32_t weight_ar = (ONE - v.weight) * h.weight;
            const int32_t weight_br = v.weight * h.weight;
            for (int32_t c = 0; c < channels; c++) {
                const int32_t sum = above[left + c] * weight_al + below[left + c] * weight_bl +
                                    above[right + c] * weight_ar + below[right + c] * weight_br;
                const int32_t half = sum > 0 ? ONE * ONE / 2 : -(ONE * ONE / 2);
                *out++ = (int8_t)((sum + half) / (ONE * ONE));
            }
        }
    }
}

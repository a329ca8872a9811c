#include "ef_conv2d.h"
#include "ef_mve.h"

static int32_t between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Copies the receptive field of one output pixel, in the order of the weights, to `to`. */
static void gather(const ef_conv2d_args *a, const int8_t *in, int32_t y, int32_t x0,
                   uint32_t first_c, int8_t *to)
{
    const int32_t group_in_c = a->in_c / a->groups;
    /* taps of a line that lie together are copied together */
    const int32_t run = a->groups == 1 && a->dilation_w == 1 ? a->kernel_w : 1;
    const int32_t bytes = run * group_in_c;
    const int32_t line = a->in_w * a->in_c;
    for (int32_t kx = a->kernel_w; kx > 0; kx -= run) {
        const int32_t left = between(-x0, 0, run) * group_in_c;
        const int32_t right = between(x0 + run - a->in_w, 0, run) * group_in_c;
        const int8_t *from = in + y * line + x0 * a->in_c + (int32_t)first_c + left;
        int8_t *target = to;
        for (int32_t row = y, ky = a->kernel_h; ky != 0; ky--) {
            if (row < 0 || row >= a->in_h || left + right >= bytes) {
                ef_mve_fill(target, a->in_zero_point, (uint32_t)bytes);
            } else {
                if (left + right != 0) {
                    ef_mve_fill(target, a->in_zero_point, (uint32_t)bytes);
                }
                ef_mve_copy(target + left, from, (uint32_t)(bytes - left - right));
            }
            from += line * a->dilation_h;
            target += a->kernel_w * group_in_c;
            row += a->dilation_h;
        }
        to += bytes;
        x0 += a->dilation_w;
    }
}

void ef_conv2d_s8_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t group_out_c = (uint32_t)a->out_c / a->groups;
    const uint32_t k = (uint32_t)a->kernel_h * a->kernel_w * group_in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t blocks = (group_out_c + EF_MVE_CHANNELS - 1) / EF_MVE_CHANNELS;
    int8_t *strip = (int8_t *)scratch + a->strip_offset;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    uint32_t ox = 0;
    uint32_t oy = 0;

    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += a->strip_pixels) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < a->strip_pixels ? left : a->strip_pixels;
        const int8_t *const strip_end = strip + n * k;
        const uint32_t first_x = ox;
        const uint32_t first_y = oy;
        for (uint32_t group = 0; group < a->groups; group++) {
            ox = first_x;
            oy = first_y;
            for (int8_t *to = strip; to != strip_end; to += k) {
                gather(a, in, (int32_t)(oy * a->stride_h) - a->pad_top,
                       (int32_t)(ox * a->stride_w) - a->pad_left, group * group_in_c, to);
                if (++ox == a->out_w) {
                    ox = 0;
                    oy++;
                }
            }
            for (uint32_t block = 0; block < blocks; block++) {
                const uint32_t c0 = block * EF_MVE_CHANNELS;
                const uint32_t oc = group * group_out_c + c0;
                const uint32_t in_block =
                    group_out_c - c0 < EF_MVE_CHANNELS ? group_out_c - c0 : EF_MVE_CHANNELS;
                const ef_mve_output output = ef_mve_output_of(a, oc, in_block);
                const uint32_t codes = k * EF_MVE_CHANNELS;
                const uint32_t first = (group * blocks + block) * codes;
                const int8_t *w = (const int8_t *)weights->data + first;
                if (weights->decoder != NULL) {
                    weights->decoder->decode(weights, scratch, first, codes, tile);
                    w = tile;
                }
                int8_t *target = out + pixel * a->out_c + oc;
                for (const int8_t *x = strip; x != strip_end; x += k) {
                    ef_mve_dot_4(&output, x, w, k, target);
                    target += a->out_c;
                }
            }
        }
    }
}

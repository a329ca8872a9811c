#include "ef_attributes.h"
#include "ef_conv2d.h"
#include "ef_swar.h"

/* Where one of two pixels lies in the map. */
typedef struct {
    int32_t y, x;
} corner;

static corner corner_of(const ef_conv2d_args *a, uint32_t pixel)
{
    const uint32_t oy = pixel / a->out_w;
    const corner c = {(int32_t)oy * a->stride_h - a->pad_top,
                      (int32_t)(pixel - oy * a->out_w) * a->stride_w - a->pad_left};
    return c;
}

/* Words of `count` values of two pixels, as value + 128, to `to`; adds them to the sums.
 * count <= 256. */
static EF_OUT_OF_LINE void merge(const uint8_t *first, const uint8_t *second, uint32_t count,
                                 uint32_t *to, uint32_t *sums)
{
    uint32_t sum = 0; /* both: 256 values of 8 bits fit 16 bits */
    uint32_t *const end = to + count;
    uint32_t *const end_of_fours = end - count % 4;
    const uint32_t flip = 0x00800080u;
    while (to != end_of_fours) {
        const uint32_t w0 = (first[0] | (uint32_t)second[0] << 16) ^ flip;
        const uint32_t w1 = (first[1] | (uint32_t)second[1] << 16) ^ flip;
        const uint32_t w2 = (first[2] | (uint32_t)second[2] << 16) ^ flip;
        const uint32_t w3 = (first[3] | (uint32_t)second[3] << 16) ^ flip;
        to[0] = w0;
        to[1] = w1;
        to[2] = w2;
        to[3] = w3;
        sum += w0 + w1 + w2 + w3;
        first += 4;
        second += 4;
        to += 4;
    }
    while (to != end) {
        const uint32_t w0 = (*first++ | (uint32_t)*second++ << 16) ^ flip;
        *to++ = w0;
        sum += w0;
    }
    sums[0] += sum & 0xFFFFu;
    sums[1] += sum >> 16;
}

/* The same for one tap of `count` channels; a pixel that is not `inside` gives padding. */
static EF_OUT_OF_LINE void merge_padded(const ef_conv2d_args *a, const uint8_t *first,
                                        int first_inside, const uint8_t *second,
                                        int second_inside, uint32_t count, uint32_t *to,
                                        uint32_t *sums)
{
    const uint32_t padding = (uint32_t)(a->in_zero_point + 128);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t x0 = first_inside ? first[i] ^ 0x80u : padding;
        const uint32_t x1 = second_inside ? second[i] ^ 0x80u : padding;
        to[i] = x0 | x1 << 16;
        sums[0] += x0;
        sums[1] += x1;
    }
}

/* Copies the receptive fields of two pixels, in the order of the weights. */
static void gather(const ef_conv2d_args *a, const int8_t *in, const corner *pixels,
                   uint32_t first_c, uint32_t *sums, uint32_t *to)
{
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const int32_t reach = (a->kernel_w - 1) * a->dilation_w;
    const int whole_lines = pixels[0].x >= 0 && pixels[0].x + reach < a->in_w &&
                            pixels[1].x >= 0 && pixels[1].x + reach < a->in_w;
    /* taps of a line that lie together are copied together */
    const uint32_t run = whole_lines && a->groups == 1 && a->dilation_w == 1 ? a->kernel_w : 1u;
    const uint8_t *const map = (const uint8_t *)in + first_c;
    int32_t row0 = pixels[0].y;
    int32_t row1 = pixels[1].y;

    sums[0] = 0;
    sums[1] = 0;
    for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
        const int inside0 = row0 >= 0 && row0 < a->in_h;
        const int inside1 = row1 >= 0 && row1 < a->in_h;
        int32_t x0 = pixels[0].x;
        int32_t x1 = pixels[1].x;
        for (uint32_t kx = 0; kx < a->kernel_w; kx += run) {
            const uint8_t *first = map + (row0 * a->in_w + x0) * a->in_c;
            const uint8_t *second = map + (row1 * a->in_w + x1) * a->in_c;
            uint32_t left = run * group_in_c;
            if (inside0 && inside1 &&
                (whole_lines || (x0 >= 0 && x0 < a->in_w && x1 >= 0 && x1 < a->in_w))) {
                while (left != 0) {
                    const uint32_t count = left < 256 ? left : 256;
                    merge(first, second, count, to, sums);
                    first += count;
                    second += count;
                    to += count;
                    left -= count;
                }
            } else {
                for (uint32_t tap = 0; tap < run; tap++) {
                    const int32_t x = (int32_t)tap;
                    merge_padded(a, first, inside0 && x0 + x >= 0 && x0 + x < a->in_w, second,
                                 inside1 && x1 + x >= 0 && x1 + x < a->in_w, group_in_c, to,
                                 sums);
                    first += group_in_c;
                    second += group_in_c;
                    to += group_in_c;
                }
            }
            x0 += a->dilation_w;
            x1 += a->dilation_w;
        }
        row0 += a->dilation_h;
        row1 += a->dilation_h;
    }
}

void ef_conv2d_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t group_out_c = (uint32_t)a->out_c / a->groups;
    const uint32_t k = (uint32_t)a->kernel_h * a->kernel_w * group_in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t blocks = (group_out_c + EF_SWAR_CHANNELS - 1) / EF_SWAR_CHANNELS;
    const uint32_t pair_words = k + 2; /* two sums, then the taps */
    uint32_t *strip = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    uint8_t *tile = (uint8_t *)scratch + a->tile_offset;
    uint32_t sums[2 * EF_SWAR_CHANNELS];
    ef_swar_block block;

    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += a->strip_pixels) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < a->strip_pixels ? left : a->strip_pixels;
        for (uint32_t group = 0; group < a->groups; group++) {
            uint32_t *pair = strip;
            for (uint32_t p = 0; p < n; p += 2) {
                corner corners[2];
                corners[0] = corner_of(a, pixel + p);
                corners[1] = p + 1 < n ? corner_of(a, pixel + p + 1) : corners[0];
                gather(a, in, corners, group * group_in_c, pair, pair + 2);
                pair += pair_words;
            }
            for (uint32_t b = 0; b < blocks; b++) {
                const uint32_t first = (group * blocks + b) * k * EF_SWAR_CHANNELS;
                const uint32_t c0 = b * EF_SWAR_CHANNELS;
                const uint32_t oc = group * group_out_c + c0;
                const uint32_t channels =
                    group_out_c - c0 < EF_SWAR_CHANNELS ? group_out_c - c0 : EF_SWAR_CHANNELS;
                const uint8_t *w = (const uint8_t *)weights->data + first;
                ef_swar_begin(a, oc, channels, &block);
                block.pixel[0].sums = sums;
                block.pixel[1].sums = sums + EF_SWAR_CHANNELS;
                int8_t *target = out + pixel * a->out_c + oc;
                if (weights->decoder != NULL) {
                    weights->decoder->decode(weights, scratch, first, k * EF_SWAR_CHANNELS, tile);
                    w = tile;
                }
                pair = strip;
                for (uint32_t p = 0; p < n; p += 2) {
                    block.pixel[0].offset = 128 * pair[0];
                    block.pixel[0].out = target;
                    block.pixel[1].offset = 128 * pair[1];
                    /* a last odd pixel was paired with itself */
                    block.pixel[1].out = p + 1 < n ? target + a->out_c : NULL;
                    ef_swar_pairs(pair + 2, w, k, sums);
                    ef_swar_finish(&block);
                    target += 2u * a->out_c;
                    pair += pair_words;
                }
            }
        }
    }
}

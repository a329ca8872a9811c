#include "ef_attributes.h"
#include "ef_clamp_row_s16.h"
#include "ef_conv2d_s16.h"
#include "ef_wide_sums.h"

/* The inputs of one output pixel in the order of the weights: words of two, every `apart` words. */
typedef struct row {
    int16_t *to;
    uint32_t apart; /* 1 or 2 */
    uint32_t taps;  /* that are there */
} row;

/* Appends values; zeros where `from` is NULL. Words of two may lie at odd places of the map. */
static EF_OUT_OF_LINE void append(row *r, const int16_t *from, uint32_t count)
{
    const uint32_t tap = r->taps;
    const uint32_t step = 2 * r->apart;
    int16_t *to = r->to + tap / 2 * step;
    r->taps += count;
    if ((tap & 1u) != 0 && count != 0) {
        to[1] = from != NULL ? *from++ : (int16_t)0;
        to += step;
        count--;
    }
    if (from == NULL) {
        for (; count >= 2; count -= 2) {
            ef_store_word(to, 0);
            to += step;
        }
        if (count != 0) {
            *to = 0;
        }
        return;
    }
    for (; count >= 8; count -= 8) {
        const uint32_t word0 = ef_load_word(from);
        const uint32_t word1 = ef_load_word(from + 2);
        const uint32_t word2 = ef_load_word(from + 4);
        const uint32_t word3 = ef_load_word(from + 6);
        ef_store_word(to, word0);
        to += step;
        ef_store_word(to, word1);
        to += step;
        ef_store_word(to, word2);
        to += step;
        ef_store_word(to, word3);
        to += step;
        from += 8;
    }
    for (; count >= 2; count -= 2) {
        ef_store_word(to, ef_load_word(from));
        to += step;
        from += 2;
    }
    if (count != 0) {
        *to = *from;
    }
}

/* The window of output pixel `pixel`; `in` is at the group's first channel. */
static void gather(const ef_conv2d_s16_args *a, const int16_t *in, uint32_t pixel, row *r)
{
    const uint32_t depth = (uint32_t)a->in_c / a->groups;
    const int32_t y0 = (int32_t)(pixel / a->out_w * a->stride_h) - a->pad_top;
    const int32_t x0 = (int32_t)(pixel % a->out_w * a->stride_w) - a->pad_left;
    /* What lies side by side in the map as well as in the weights is taken at once. */
    const int32_t last = x0 + a->kernel_w - 1;
    const int32_t joined = a->groups == 1 && a->dilation_w == 1 && x0 >= 0 && last < a->in_w;
    r->taps = 0;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t y = y0 + ky * a->dilation_h;
        if (y < 0 || y >= a->in_h) {
            append(r, NULL, a->kernel_w * depth);
        } else if (joined) {
            append(r, in + (y * a->in_w + x0) * a->in_c, a->kernel_w * depth);
        } else {
            for (int32_t kx = 0; kx < a->kernel_w; kx++) {
                const int32_t x = x0 + kx * a->dilation_w;
                const int32_t inside = x >= 0 && x < a->in_w;
                append(r, inside ? in + (y * a->in_w + x) * a->in_c : NULL, depth);
            }
        }
    }
    append(r, NULL, (0u - r->taps) & (EF_WIDE_TAPS - 1));
}

/* Whether the pixel lies in the map as a strip would have it. */
static int32_t lies_ready(const ef_conv2d_s16_args *a, const int16_t *in)
{
    return a->kernel_h * a->kernel_w * a->groups * a->stride_h * a->stride_w == 1 &&
           a->in_c % EF_WIDE_TAPS == 0 && ((uintptr_t)in & 3u) == 0;
}

/* A group's filters for one or two pixels. */
static void filter(const ef_wide_block *all, uint32_t filters, const uint32_t *strip,
                   uint32_t pixels, int16_t *out)
{
    void (*const run)(const ef_wide_block *, const uint32_t *, int16_t *) =
        pixels == 2 ? ef_wide_two_pixels : ef_wide_one_pixel;
    ef_wide_block block = *all;
    block.pairs = filters / 2;
    if (block.pairs != 0) {
        run(&block, strip, out);
    }
    if (filters % 2 != 0) {
        /* the last pair's second filter is none */
        uint32_t words[2];
        block.weights += 2 * block.pairs * block.steps;
        block.channels += block.pairs;
        block.pairs = 1;
        block.pitch = sizeof words[0];
        run(&block, strip, (int16_t *)words);
        for (uint32_t pixel = 0; pixel < pixels; pixel++) {
            out[pixel * (uint32_t)all->pitch / sizeof *out + filters - 1] =
                (int16_t)ef_low(words[pixel]);
        }
    }
}

void ef_conv2d_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch)
{
    const uint32_t depth = (uint32_t)a->in_c / a->groups;
    const uint32_t filters = (uint32_t)a->out_c / a->groups;
    const uint32_t count = (uint32_t)a->out_h * a->out_w;
    const uint32_t pairs = (filters + 1) / 2;
    int16_t *const strip = (int16_t *)scratch;
    int16_t *to = out;
    uint32_t pixels;
    ef_wide_block block;
    block.steps = (a->kernel_h * a->kernel_w * depth + EF_WIDE_TAPS - 1) / EF_WIDE_TAPS;
    block.pitch = (int32_t)(a->out_c * sizeof *out);
    for (uint32_t pixel = 0; pixel < count; pixel += pixels) {
        pixels = pixel + 1 < count ? 2 : 1;
        block.weights = (const uint32_t *)a->weights;
        block.channels = (const ef_wide_pair *)a->channels;
        for (uint32_t group = 0; group < a->groups; group++) {
            const uint32_t *ready = (const uint32_t *)(const void *)strip;
            if (pixels == 1 && lies_ready(a, in)) {
                ready = (const uint32_t *)(const void *)(in + pixel * depth);
            } else {
                row r;
                r.apart = pixels;
                for (uint32_t place = 0; place < pixels; place++) {
                    r.to = strip + 2 * place;
                    gather(a, in + group * depth, pixel + place, &r);
                }
            }
            filter(&block, filters, ready, pixels, to + group * filters);
            block.weights += 2 * pairs * block.steps;
            block.channels += pairs;
        }
        to += pixels * a->out_c;
    }
    ef_clamp_row_s16(out, count * a->out_c, a->clamp_min, a->clamp_max);
}

#include "ef_attributes.h"
#include "ef_clamp_outputs.h"
#include "ef_gather.h"
#include "ef_strip_loop.h"

/* A run of output pixels in one row, cut into two halves. The strip holds the input columns that a
 * half sees, word by word beside those of the other half, so that the two pixels of a pair are
 * pixel i of either half and neighbouring pairs share most of their columns. */
typedef struct {
    uint32_t pixels;
    uint32_t half; /* pixels of the first half, and the distance of the two pixels of a pair */
    int32_t columns;
} run;

/* One line of a half's columns, with padding. */
static EF_OUT_OF_LINE void copy_line(const ef_conv2d_args *a, const int8_t *in, int32_t y,
                                     int32_t x, int32_t columns, int8_t *to)
{
    ef_copy_window(a, in, y, x, 1, columns, to);
}

/* Gathers the input of the run at (oy, ox). */
static void fill_strip(const ef_conv2d_args *a, const int8_t *in, uint32_t oy, uint32_t ox,
                       const run *r, int8_t *rows, uint32_t *strip)
{
    const uint32_t groups = (uint32_t)(r->columns * a->in_c) / EF_O8_TAPS;
    const int32_t first = (int32_t)ox * a->stride_w - a->pad_left;
    const int32_t second = first + (int32_t)r->half * a->stride_w;
    const int inside = first >= 0 && second + r->columns <= a->in_w;
    int32_t y = (int32_t)oy * a->stride_h - a->pad_top;
    for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
        const int8_t *from[2] = {rows, rows + r->columns * a->in_c};
        if (inside && y >= 0 && y < a->in_h) {
            from[0] = in + (y * a->in_w + first) * a->in_c;
            from[1] = in + (y * a->in_w + second) * a->in_c;
        } else {
            copy_line(a, in, y, first, r->columns, rows);
            copy_line(a, in, y, second, r->columns, rows + r->columns * a->in_c);
        }
        strip = ef_o8_expand_pair(strip, from[0], from[1], groups);
        y += a->dilation_h;
    }
}

/* Pairs of a block that have less than 4 channels or no second pixel. */
static void run_ragged(const ef_strip_loop *loop, ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                       const run *r, uint32_t first_pair, uint32_t channels, uint32_t pitch,
                       int8_t *out)
{
    int8_t tile[2 * EF_O8_CHANNELS];
    block->second_pitch = EF_O8_CHANNELS;
    block->pairs = 1;
    for (uint32_t pair = first_pair; pair < r->half; pair++) {
        loop->run(block, weights, strip + pair * ((uint32_t)block->strip_step / 4), tile);
        for (uint32_t c = 0; c < channels; c++) {
            out[pair * pitch + c] = tile[c];
            if (r->half + pair < r->pixels) {
                out[(r->half + pair) * pitch + c] = tile[EF_O8_CHANNELS + c];
            }
        }
        block->offsets += EF_STRIP_OFFSETS;
    }
}

/* All output channels of one run. */
static void convolve_run(const ef_strip_loop *loop, const ef_conv2d_args *a, const run *r,
                                const uint32_t *strip, int32_t *offsets, void *scratch, int8_t *out)
{
    const ef_weights *weights = &a->weights;
    const int32_t row_taps = a->kernel_w * a->in_c;
    const uint32_t tile_codes = (uint32_t)(a->kernel_h * row_taps) * EF_O8_CHANNELS;
    uint32_t *tile = (uint32_t *)(void *)((int8_t *)scratch + a->tile_offset);
    ef_o8_block block;
    block.steps = (uint32_t)row_taps / EF_O8_TAPS;
    block.rows = a->kernel_h;
    block.row_gap = 4 * (r->columns * a->in_c - row_taps);
    block.strip_step = 4 * a->stride_w * a->in_c;
    block.pair_pitch = a->out_c;
    if (loop->offsets != NULL) {
        block.pairs = r->half;
        loop->offsets(&block, weights, strip, offsets);
    }
    for (uint32_t c = 0; c < a->out_c; c += EF_O8_CHANNELS) {
        const uint32_t left = a->out_c - c;
        const uint32_t channels = left < EF_O8_CHANNELS ? left : EF_O8_CHANNELS;
        const uint32_t first = c / EF_O8_CHANNELS * tile_codes;
        const uint32_t whole = channels == EF_O8_CHANNELS ? r->pixels - r->half : 0;
        const uint32_t *words = (const uint32_t *)weights->data + first / loop->codes;
        if (weights->decoder != NULL) {
            weights->decoder->decode(weights, scratch, first, tile_codes, tile);
            words = tile;
        }
        loop->begin_block(a, c, channels, &block);
        block.second_pitch = (int32_t)r->half * a->out_c;
        block.offsets = offsets;
        block.pairs = whole;
        if (whole != 0) {
            loop->run(&block, words, strip, out + c);
        }
        if (whole != r->half) {
            block.offsets += EF_STRIP_OFFSETS * whole;
            run_ragged(loop, &block, words, strip, r, whole, channels, a->out_c, out + c);
        }
    }
}

void ef_convolve_rows(const ef_strip_loop *loop, const ef_conv2d_args *a,
                                    const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const int32_t longest = (a->strip_pixels / 2 - 1) * a->stride_w + a->kernel_w;
    int8_t *rows = (int8_t *)scratch + a->strip_offset;
    uint32_t *strip = (uint32_t *)(void *)(rows + 2 * longest * a->in_c);
    int32_t *offsets = (int32_t *)(void *)(strip + a->kernel_h * longest * a->in_c);

    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t oy = 0; oy < a->out_h; oy++) {
        for (uint32_t ox = 0; ox < a->out_w; ox += a->strip_pixels) {
            const uint32_t left = a->out_w - ox;
            run r;
            r.pixels = left < a->strip_pixels ? left : a->strip_pixels;
            r.half = (r.pixels + 1) / 2;
            r.columns = ((int32_t)r.half - 1) * a->stride_w + a->kernel_w;
            fill_strip(a, in, oy, ox, &r, rows, strip);
            convolve_run(loop, a, &r, strip, offsets, scratch, out);
            ef_clamp_outputs(a, out, r.pixels * a->out_c);
            out += r.pixels * a->out_c;
        }
    }
}

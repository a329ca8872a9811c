#include "ef_clamp_outputs.h"
#include "ef_gather.h"
#include "ef_strip_loop.h"

/* What every strip of one call shares. */
typedef struct {
    const ef_conv2d_args *a;
    const int8_t *in;
    uint32_t group_in_c;
    uint32_t groups; /* of 4 taps, the last one filled up with zeros */
    int8_t *rows;    /* two gathered receptive fields */
} strip_source;

/* The receptive field at (y0, x0), channels from first_c on, as bytes in the order of the taps. */
static void gather(const strip_source *s, int32_t y0, int32_t x0, uint32_t first_c, int8_t *row)
{
    const ef_conv2d_args *a = s->a;
    int32_t y = y0;
    ef_store_word(row + 4 * s->groups - 4, 0); /* for what the taps leave of the last group */
    if (a->groups == 1 && a->dilation_w == 1) {
        ef_copy_window(a, s->in, y0, x0, a->kernel_h, a->kernel_w, row);
        return;
    }
    for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
        int32_t x = x0;
        for (uint32_t kx = a->kernel_w; kx != 0; kx--) {
            if (y < 0 || y >= a->in_h || x < 0 || x >= a->in_w) {
                row = ef_fill_bytes(row, a->in_zero_point, s->group_in_c);
            } else {
                const int8_t *from = s->in + (y * a->in_w + x) * a->in_c + first_c;
                row = ef_copy_bytes(row, from, s->group_in_c);
            }
            x += a->dilation_w;
        }
        y += a->dilation_h;
    }
}

/* Expands the receptive fields of pixels `first` and `second` into the strip. */
static uint32_t *add_pair(const strip_source *s, uint32_t first, uint32_t second, uint32_t first_c,
                          uint32_t *strip)
{
    const ef_conv2d_args *a = s->a;
    const uint32_t pixel[2] = {first, second};
    int32_t y0[2];
    int32_t x0[2];
    /* Runs of whole words inside the map need no copy. */
    int direct = a->groups == 1 && a->dilation_w == 1 && a->in_c % 4 == 0;
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t oy = pixel[i] / a->out_w;
        y0[i] = (int32_t)oy * a->stride_h - a->pad_top;
        x0[i] = (int32_t)(pixel[i] - oy * a->out_w) * a->stride_w - a->pad_left;
        direct = direct && y0[i] >= 0 && y0[i] + (a->kernel_h - 1) * a->dilation_h < a->in_h &&
                 x0[i] >= 0 && x0[i] + a->kernel_w <= a->in_w;
    }
    if (direct) {
        const uint32_t line = (uint32_t)a->in_w * a->in_c;
        const int8_t *from[2];
        for (uint32_t i = 0; i < 2; i++) {
            from[i] = s->in + (uint32_t)y0[i] * line + (uint32_t)x0[i] * a->in_c;
        }
        for (uint32_t ky = 0; ky < a->kernel_h; ky++) {
            strip = ef_o8_expand_pair(strip, from[0], from[1], (uint32_t)a->kernel_w * a->in_c / 4);
            from[0] += line * a->dilation_h;
            from[1] += line * a->dilation_h;
        }
        return strip;
    }
    int8_t *const rows[2] = {s->rows, s->rows + 4 * s->groups};
    gather(s, y0[0], x0[0], first_c, rows[0]);
    gather(s, y0[1], x0[1], first_c, rows[1]);
    return ef_o8_expand_pair(strip, rows[0], rows[1], s->groups);
}

/* Runs a block over a strip whose pixels or channels do not fill whole tiles. */
static void run_ragged(const ef_strip_loop *loop, ef_o8_block *block, const uint32_t *weights,
                       const uint32_t *strip, uint32_t pixels, uint32_t channels, uint32_t pitch,
                       int8_t *out)
{
    int8_t tile[2 * EF_O8_CHANNELS];
    block->second_pitch = EF_O8_CHANNELS;
    block->pairs = 1;
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        loop->run(block, weights, strip, tile);
        for (uint32_t c = 0; c < channels; c++) {
            out[c] = tile[c];
            if (pixel + 1 < pixels) {
                out[pitch + c] = tile[EF_O8_CHANNELS + c];
            }
        }
        out += 2 * pitch;
        strip += 4 * block->steps;
        block->offsets += EF_STRIP_OFFSETS;
    }
}

void ef_convolve_strips(const ef_strip_loop *loop, const ef_conv2d_args *a,
                                      const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t group_out_c = (uint32_t)a->out_c / a->groups;
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w * group_in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t tile_codes = steps * EF_O8_TAPS * EF_O8_CHANNELS;
    int8_t *rows = (int8_t *)scratch + a->strip_offset;
    uint32_t *strip = (uint32_t *)(void *)(rows + 2 * EF_O8_TAPS * steps);
    uint32_t *tile = (uint32_t *)(void *)((int8_t *)scratch + a->tile_offset);
    int32_t *offsets = (int32_t *)(void *)(strip + 4 * steps * ((a->strip_pixels + 1u) / 2));
    const strip_source source = {a, in, group_in_c, steps, rows};
    ef_o8_block block;

    block.steps = steps;
    block.rows = 1;
    block.row_gap = 0;
    block.strip_step = 0;
    block.pair_pitch = 2 * a->out_c;
    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += a->strip_pixels) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < a->strip_pixels ? left : a->strip_pixels;
        int8_t *target = out + pixel * a->out_c;
        uint32_t first = 0; /* code of the block */
        for (uint32_t group = 0; group < a->groups; group++) {
            uint32_t *end = strip;
            for (uint32_t p = 0; p < n; p += 2) {
                const uint32_t second = p + 1 < n ? p + 1 : p;
                end = add_pair(&source, pixel + p, pixel + second, group * group_in_c, end);
            }
            if (loop->offsets != NULL) {
                block.pairs = (n + 1) / 2;
                loop->offsets(&block, weights, strip, offsets);
            }
            for (uint32_t c = 0; c < group_out_c; c += EF_O8_CHANNELS) {
                const uint32_t channels =
                    group_out_c - c < EF_O8_CHANNELS ? group_out_c - c : EF_O8_CHANNELS;
                const uint32_t *words = (const uint32_t *)weights->data + first / loop->codes;
                if (weights->decoder != NULL) {
                    weights->decoder->decode(weights, scratch, first, tile_codes, tile);
                    words = tile;
                }
                const uint32_t oc = group * group_out_c + c;
                loop->begin_block(a, oc, channels, &block);
                block.second_pitch = a->out_c;
                block.offsets = offsets;
                uint32_t whole = channels == EF_O8_CHANNELS ? n / 2 : 0;
                if (whole != 0) {
                    block.pairs = whole;
                    loop->run(&block, words, strip, target + oc);
                }
                if (2 * whole < n) {
                    block.offsets += EF_STRIP_OFFSETS * whole;
                    run_ragged(loop, &block, words, strip + 4 * whole * steps, n - 2 * whole,
                               channels, a->out_c, target + 2 * whole * a->out_c + oc);
                }
                first += tile_codes;
            }
        }
        ef_clamp_outputs(a, target, n * a->out_c);
    }
}

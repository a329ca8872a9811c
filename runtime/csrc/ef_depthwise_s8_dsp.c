#include "ef_channel.h"
#include "ef_clamp_outputs.h"
#include "ef_conv2d.h"
#include "ef_numerics.h"
#include "ef_plane.h"
#include "ef_simd.h"

/* One of the two directions of a map. */
typedef struct {
    int32_t in, out; /* elements of the map, of the output */
    int32_t in_step; /* bytes from one element of a channel to the next */
    int32_t out_step;
    int32_t kernel, stride, dilation, pad;
    int32_t weight_step; /* from one weight to the next */
} direction;

static direction rows_of(const ef_conv2d_args *a)
{
    const direction d = {a->in_h,     a->out_h,    a->in_w * a->in_c, a->out_w * a->out_c,
                         a->kernel_h, a->stride_h, a->dilation_h,     a->pad_top,
                         a->kernel_w};
    return d;
}

static direction columns_of(const ef_conv2d_args *a)
{
    const direction d = {a->in_w,     a->out_w,    a->in_c,       a->out_c, a->kernel_w,
                         a->stride_w, a->dilation_w, a->pad_left, 1};
    return d;
}

/* Elements of the padded plane that the outputs touch. */
static int32_t reach(const direction *d)
{
    return (d->out - 1) * d->stride + (d->kernel - 1) * d->dilation + 1;
}

static int32_t between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* How the map lies in a plane of `lines` x `words`. Elements that no output touches are left out. */
static ef_plane_source plane_source(const direction *along, const direction *across,
                                    int32_t padding, int32_t lines, int32_t words,
                                    int32_t line_step, int32_t word_step)
{
    const int32_t elements = between(2 * words - along->pad, 0, along->in);
    const int32_t odd = elements != 0 ? along->pad % 2 : 0;
    const ef_plane_source source = {along->pad / 2 * word_step + across->pad * line_step,
                                    (uint32_t)between(lines - across->pad, 0, across->in),
                                    (uint32_t)odd,
                                    (uint32_t)(elements - odd) / 2,
                                    (uint32_t)(elements - odd) % 2,
                                    padding,
                                    along->in_step,
                                    across->in_step,
                                    word_step,
                                    line_step};
    return source;
}

/* Any kernel, stride and dilation. The weights are pairs of taps, or single taps if they lie
 * apart; plane lines lie one after the other. */
static void convolve(const direction *along, const direction *across,
                     const ef_plane_3x3 *channel, const uint32_t *weights, int32_t words,
                     const int8_t *plane, int8_t *out)
{
    const int32_t taps = along->dilation == 1 ? 2 : 1;
    const int32_t tap_bytes = taps * along->dilation * 2;
    const int32_t per_line = (along->kernel + taps - 1) / taps;
    const int32_t next_line = across->dilation * words * 4 - per_line * tap_bytes;
    const uint32_t *weights_end = weights + across->kernel * per_line;
    for (int32_t line = 0; line < across->out; line++) {
        const int8_t *corner = plane + line * across->stride * words * 4;
        int8_t *target = out + line * across->out_step;
        for (int32_t i = 0; i < along->out; i++) {
            const uint32_t *w = weights;
            const int8_t *x = corner;
            int32_t sum = channel->bias;
            while (w != weights_end) {
                int32_t j = per_line;
                for (; j >= 2; j -= 2) {
                    sum = ef_smlad(ef_load_word(x), w[0], sum);
                    sum = ef_smlad(ef_load_word(x + tap_bytes), w[1], sum);
                    w += 2;
                    x += 2 * tap_bytes;
                }
                if (j != 0) {
                    sum = ef_smlad(ef_load_word(x), *w++, sum);
                    x += tap_bytes;
                }
                x += next_line;
            }
            *target = (int8_t)ef_requantize_doubled(sum, channel->multiplier, channel->offset,
                                                    channel->shift);
            target += along->out_step;
            corner += 2 * along->stride;
        }
    }
}

/* Doubled weights of one channel as `convolve` wants them. */
static void pair_weights(const direction *along, const direction *across, const int8_t *w,
                         uint32_t *pairs)
{
    const int32_t taps = along->dilation == 1 ? 2 : 1;
    for (int32_t k = 0; k < across->kernel; k++) {
        const int8_t *line = w + k * across->weight_step;
        for (int32_t j = 0; j < along->kernel; j += taps) {
            const int32_t second =
                taps == 2 && j + 1 < along->kernel ? line[(j + 1) * along->weight_step] : 0;
            *pairs++ = ef_pack(2 * line[j * along->weight_step], 2 * second);
        }
    }
}

static void overlap_weights(const direction *along, const direction *across, const int8_t *w,
                            uint32_t *pairs)
{
    for (int32_t k = 0; k < 3; k++) {
        const int8_t *line = w + k * across->weight_step;
        const int32_t middle = 2 * line[along->weight_step];
        pairs[2 * k] = ef_pack(2 * line[0], middle);
        pairs[2 * k + 1] = ef_pack(middle, 2 * line[2 * along->weight_step]);
    }
}

void ef_depthwise_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const int swap = a->out_h > a->out_w;
    const direction along = swap ? rows_of(a) : columns_of(a);
    const direction across = swap ? columns_of(a) : rows_of(a);
    const int fast = along.kernel == 3 && across.kernel == 3 && along.stride <= 2 &&
                     along.dilation == 1 && across.dilation == 1;
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t per_input = (uint32_t)a->out_c / a->in_c;
    const int32_t lines = reach(&across);
    /* one word more than the outputs need, for the odd taps of the last pair */
    const int32_t words = reach(&along) / 2 + 1;
    const int32_t word_step = fast ? 4 * lines : 4;
    const int32_t line_step = fast ? 4 : 4 * words;
    const ef_plane_source source =
        plane_source(&along, &across, a->in_zero_point, lines, words, line_step, word_step);
    int8_t *plane = (int8_t *)scratch + a->strip_offset;
    uint32_t *pairs = (uint32_t *)(void *)(plane + 4 * words * lines);
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    ef_plane_3x3 channel;

    for (int32_t word = 0; word < lines * words; word++) {
        ef_store_word(plane + 4 * word, ef_pack(a->in_zero_point, a->in_zero_point));
    }
    channel.pairs = along.stride == 1 ? (uint32_t)along.out / 2 : 0;
    channel.singles = (uint32_t)along.out - 2 * channel.pairs;
    channel.lines = (uint32_t)across.out;
    channel.out_step = along.out_step;
    channel.line_step = across.out_step;
    channel.column_step = word_step;
    channel.plane_step = 4 * across.stride;
    for (uint32_t c = 0; c < a->in_c; c++) {
        ef_plane_fill(&source, in + c, plane);
        for (uint32_t oc = c * per_input; oc < (c + 1) * per_input; oc++) {
            const int8_t *w = (const int8_t *)weights->data + oc * taps;
            if (weights->decoder != NULL) {
                weights->decoder->decode(weights, NULL, oc * taps, taps, tile);
                w = tile;
            }
            const ef_channel table = ef_channel_of(a, oc);
            channel.bias = 2 * table.bias;
            channel.multiplier = table.multiplier;
            channel.shift = -table.shift;
            channel.offset = (2 * a->out_zero_point + 1) * (1 << (channel.shift - 1));
            if (fast) {
                overlap_weights(&along, &across, w, channel.weights);
                ef_plane_3x3_run(&channel, (const uint32_t *)(const void *)plane, out + oc);
            } else {
                pair_weights(&along, &across, w, pairs);
                convolve(&along, &across, &channel, pairs, words, plane, out + oc);
            }
        }
    }
    ef_clamp_outputs(a, out, (uint32_t)a->out_h * a->out_w * a->out_c);
}

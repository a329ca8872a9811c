#include "ef_attributes.h"
#include "ef_conv2d_s16.h"
#include "ef_simd.h"
#include "ef_wide.h"

/* The inputs of one output pixel in the order of the weights, what is outside the map as 0. */
static void gather(const ef_conv2d_s16_args *a, const int16_t *in, int32_t y0, int32_t x0,
                   uint32_t depth, int16_t *to)
{
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t y = y0 + ky * a->dilation_h;
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const int32_t x = x0 + kx * a->dilation_w;
            if (y >= 0 && y < a->in_h && x >= 0 && x < a->in_w) {
                memcpy(to, in + (y * a->in_w + x) * a->in_c, depth * sizeof *to);
            } else {
                memset(to, 0, depth * sizeof *to);
            }
            to += depth;
        }
    }
    for (uint32_t tap = (uint32_t)a->kernel_h * a->kernel_w * depth; (tap & 3u) != 0; tap++) {
        *to++ = 0;
    }
}

/* The operands of four sums of `taps` products. */
typedef struct operands {
    const int8_t *weights[2]; /* of two channels */
    const int16_t *inputs[2]; /* of two pixels */
    uint32_t taps;
} operands;

/* sums: (channel 0, pixel 0), (0, 1), (1, 0), (1, 1); in [0] and [2] the channels' biases. */
static EF_OUT_OF_LINE void dot_pairs(const operands *o, int32_t *sums)
{
    const int8_t *weights = o->weights[0];
    const int8_t *others = o->weights[1];
    const int16_t *strip = o->inputs[0];
    const int16_t *strip1 = o->inputs[1];
    int32_t sum00 = sums[0];
    int32_t sum01 = sums[0];
    int32_t sum10 = sums[2];
    int32_t sum11 = sums[2];
    for (const int8_t *end = weights + o->taps; weights != end; weights += 4) {
        const uint32_t w0 = ef_load_word(weights);
        const uint32_t w1 = ef_load_word(others);
        uint32_t x0 = ef_load_word(strip);
        uint32_t x1 = ef_load_word(strip1);
        uint32_t w = ef_sxtb16(w0);
        sum00 = ef_smlad(w, x0, sum00);
        sum01 = ef_smlad(w, x1, sum01);
        w = ef_sxtb16(w1);
        sum10 = ef_smlad(w, x0, sum10);
        sum11 = ef_smlad(w, x1, sum11);
        x0 = ef_load_word(strip + 2);
        x1 = ef_load_word(strip1 + 2);
        w = ef_sxtb16_odd(w0);
        sum00 = ef_smlad(w, x0, sum00);
        sum01 = ef_smlad(w, x1, sum01);
        w = ef_sxtb16_odd(w1);
        sum10 = ef_smlad(w, x0, sum10);
        sum11 = ef_smlad(w, x1, sum11);
        others += 4;
        strip += 4;
        strip1 += 4;
    }
    sums[0] = sum00;
    sums[1] = sum01;
    sums[2] = sum10;
    sums[3] = sum11;
}

static inline int16_t finish(const ef_conv2d_s16_args *a, int32_t oc, int32_t sum)
{
    return ef_clamp_s16(ef_scale_wide(sum, a->multiplier[oc], a->shift[oc]), a->clamp_min,
                        a->clamp_max);
}

/* All filters of one group for one or two output pixels. */
static void filter(const ef_conv2d_s16_args *a, operands *o, int32_t first, int32_t end,
                   int16_t *out, int32_t pixels)
{
    const int8_t *weights = a->weights + o->taps * (uint32_t)first;
    for (int32_t oc = first; oc < end; oc += 2) {
        /* The last of an odd number is computed twice. */
        const int32_t step = oc + 1 < end ? 1 : 0;
        int32_t sums[4];
        sums[0] = a->bias[oc];
        sums[2] = a->bias[oc + step];
        o->weights[0] = weights;
        o->weights[1] = weights + o->taps * (uint32_t)step;
        dot_pairs(o, sums);
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            int16_t *to = out + pixel * a->out_c + oc;
            to[0] = finish(a, oc, sums[pixel]);
            to[step] = finish(a, oc + step, sums[2 + pixel]);
        }
        weights += 2 * o->taps;
    }
}

void ef_conv2d_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch)
{
    const uint32_t depth = (uint32_t)a->in_c / a->groups;
    const int32_t filters = a->out_c / a->groups;
    int16_t *strip = (int16_t *)scratch;
    operands o;
    o.taps = ((uint32_t)a->kernel_h * a->kernel_w * depth + 3u) / 4u * 4u;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const int32_t y = oy * a->stride_h - a->pad_top;
        for (int32_t ox = 0; ox < a->out_w; ox += 2) {
            const int32_t pixels = ox + 1 < a->out_w ? 2 : 1;
            o.inputs[0] = strip;
            o.inputs[1] = strip + (uint32_t)(pixels - 1) * o.taps;
            for (int32_t group = 0; group < a->groups; group++) {
                for (int32_t pixel = 0; pixel < pixels; pixel++) {
                    gather(a, in + (uint32_t)group * depth, y,
                           (ox + pixel) * a->stride_w - a->pad_left, depth,
                           strip + (uint32_t)pixel * o.taps);
                }
                filter(a, &o, group * filters, (group + 1) * filters, out, pixels);
            }
            out += pixels * a->out_c;
        }
    }
}

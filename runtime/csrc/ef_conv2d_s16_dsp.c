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

/* Two rows of weights times one of inputs. */
static EF_OUT_OF_LINE void dot_pair(const int8_t *weights, const int8_t *others,
                                    const int16_t *strip, uint32_t quads, int32_t *sums)
{
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    for (const int8_t *end = weights + 4 * quads; weights != end;) {
        const uint32_t w0 = ef_load_word(weights);
        const uint32_t w1 = ef_load_word(others);
        const uint32_t x01 = ef_load_word(strip);
        const uint32_t x23 = ef_load_word(strip + 2);
        sum0 = ef_smlad(ef_sxtb16(w0), x01, sum0);
        sum1 = ef_smlad(ef_sxtb16(w1), x01, sum1);
        sum0 = ef_smlad(ef_sxtb16_odd(w0), x23, sum0);
        sum1 = ef_smlad(ef_sxtb16_odd(w1), x23, sum1);
        weights += 4;
        others += 4;
        strip += 4;
    }
    sums[0] = sum0;
    sums[1] = sum1;
}

/* All filters of one group for one output pixel. */
static void filter(const ef_conv2d_s16_args *a, const int16_t *strip, uint32_t quads,
                   int32_t first, int32_t end, int16_t *out)
{
    const int8_t *weights = a->weights + 4 * quads * (uint32_t)first;
    for (int32_t oc = first; oc < end; oc += 2) {
        /* The last of an odd number is computed twice. */
        const int32_t other = oc + 1 < end ? oc + 1 : oc;
        int32_t sums[2];
        sums[0] = a->bias[oc];
        sums[1] = a->bias[other];
        dot_pair(weights, weights + 4 * quads * (uint32_t)(other - oc), strip, quads, sums);
        out[oc] = ef_clamp_s16(ef_scale_wide(sums[0], a->multiplier[oc], a->shift[oc]),
                               a->clamp_min, a->clamp_max);
        out[other] = ef_clamp_s16(
            ef_scale_wide(sums[other - oc], a->multiplier[other], a->shift[other]), a->clamp_min,
            a->clamp_max);
        weights += 8 * quads;
    }
}

void ef_conv2d_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch)
{
    const uint32_t depth = (uint32_t)a->in_c / a->groups;
    const uint32_t quads = ((uint32_t)a->kernel_h * a->kernel_w * depth + 3) / 4;
    const int32_t filters = a->out_c / a->groups;
    int16_t *strip = (int16_t *)scratch;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            for (int32_t group = 0; group < a->groups; group++) {
                gather(a, in + (uint32_t)group * depth, oy * a->stride_h - a->pad_top,
                       ox * a->stride_w - a->pad_left, depth, strip);
                filter(a, strip, quads, group * filters, (group + 1) * filters, out);
            }
            out += a->out_c;
        }
    }
}

#include "ef_conv2d.h"
#include "ef_mve.h"

/* Channels computed together. */
#define LANES 8u

/* For each tap of one output pixel, where its channels lie: in the map, or in a line of padding. */
static void find_taps(const ef_conv2d_args *a, const int8_t *in, const int8_t *padding, int32_t y0,
                      int32_t x0, const int8_t **taps)
{
    int32_t y = y0;
    for (int32_t ky = a->kernel_h; ky != 0; ky--) {
        int32_t x = x0;
        for (int32_t kx = a->kernel_w; kx != 0; kx--) {
            const int inside = y >= 0 && y < a->in_h && x >= 0 && x < a->in_w;
            *taps++ = inside ? in + (y * a->in_w + x) * a->in_c : padding;
            x += a->dilation_w;
        }
        y += a->dilation_h;
    }
}

/* LANES channels of one output pixel from channel c on; the weights are [tap][channel]. */
static void convolve(const ef_conv2d_args *a, const int8_t *const *taps, uint32_t count,
                     const int8_t *weights, uint32_t c, int8_t *out)
{
    const int8_t *w = weights + c;
#if EF_HAS_MVE
    int32x4x2_t acc = vld2q_s32(a->bias + c);
    const int32x4x2_t multiplier = vld2q_s32(a->multiplier + c);
    const int16x8_t shift = vldrbq_s16(a->shift + c);
    const int16x8_t left = vmaxq_s16(shift, vdupq_n_s16(0));
    const int16x8_t right = vminq_s16(shift, vdupq_n_s16(0));
    for (uint32_t tap = count; tap != 0; tap--) {
        const int16x8_t x = vldrbq_s16(*taps++ + c);
        const int16x8_t value = vldrbq_s16(w);
        acc.val[0] = vaddq_s32(acc.val[0], vmullbq_int_s16(x, value));
        acc.val[1] = vaddq_s32(acc.val[1], vmulltq_int_s16(x, value));
        w += a->in_c;
    }
    const int32x4_t even =
        ef_mve_requantize(acc.val[0], multiplier.val[0], vmovlbq_s16(left), vmovlbq_s16(right));
    const int32x4_t odd =
        ef_mve_requantize(acc.val[1], multiplier.val[1], vmovltq_s16(left), vmovltq_s16(right));
    int16x8_t both = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), even), odd);
    both = vqaddq_n_s16(both, a->out_zero_point);
    both = vminq_s16(vmaxq_s16(both, vdupq_n_s16(a->clamp_min)), vdupq_n_s16(a->clamp_max));
    vstrbq_s16(out, both);
#else
    for (uint32_t lane = 0; lane < LANES; lane++) {
        const uint32_t oc = c + lane;
        int32_t acc = a->bias[oc];
        for (uint32_t tap = 0; tap < count; tap++) {
            acc += taps[tap][oc] * w[tap * a->in_c + lane];
        }
        acc = ef_requantize(acc, a->multiplier[oc], a->shift[oc]) + a->out_zero_point;
        out[lane] = ef_clamp_s8(acc, a->clamp_min, a->clamp_max);
    }
#endif
}

void ef_depthwise_s8_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t count = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t channels = a->in_c;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    const int8_t **taps = (const int8_t **)(void *)((int8_t *)scratch + a->strip_offset);
    int8_t *padding = (int8_t *)(taps + count);
    const int8_t *w = (const int8_t *)weights->data;

    memset(padding, a->in_zero_point, channels);
    if (weights->decoder != NULL) {
        weights->decoder->decode(weights, NULL, 0, count * channels, tile);
        w = tile;
    }
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            find_taps(a, in, padding, oy * a->stride_h - a->pad_top,
                      ox * a->stride_w - a->pad_left, taps);
            for (uint32_t c = 0; c + LANES <= channels; c += LANES) {
                convolve(a, taps, count, w, c, out + c);
            }
            if (channels % LANES != 0) {
                /* some channels once more, rather than reading past the last */
                convolve(a, taps, count, w, channels - LANES, out + channels - LANES);
            }
            out += channels;
        }
    }
}

#include "ef_conv2d.h"
#include "ef_mve.h"

/* Channels computed together. */
#define LANES 16u

/* For each tap of one output pixel, where its channels lie: in the map, or in a line of padding. */
static void find_taps(const ef_conv2d_args *a, const int8_t *in, const int8_t *padding, int32_t y0,
                      int32_t x0, const int8_t **taps)
{
    const int32_t step_x = a->dilation_w * a->in_c;
    const int32_t step_y = a->dilation_h * a->in_w * a->in_c;
    const int8_t *line = in + (y0 * a->in_w + x0) * a->in_c;
    const int inside = y0 >= 0 && y0 + (a->kernel_h - 1) * a->dilation_h < a->in_h && x0 >= 0 &&
                       x0 + (a->kernel_w - 1) * a->dilation_w < a->in_w;
    int32_t y = y0;
    for (int32_t ky = a->kernel_h; ky != 0; ky--) {
        const int8_t *tap = line;
        if (inside) {
            for (int32_t kx = a->kernel_w; kx != 0; kx--) {
                *taps++ = tap;
                tap += step_x;
            }
        } else {
            int32_t x = x0;
            for (int32_t kx = a->kernel_w; kx != 0; kx--) {
                *taps++ = y >= 0 && y < a->in_h && x >= 0 && x < a->in_w ? tap : padding;
                tap += step_x;
                x += a->dilation_w;
            }
        }
        line += step_y;
        y += a->dilation_h;
    }
}

#if EF_HAS_MVE
/* Requantizes and adds the zero point; all shifts are to the right. */
static inline int32x4_t requantize(int32x4_t acc, int32x4_t multiplier, int32x4_t shift,
                                   int32_t zero_point)
{
    const int32x4_t product = vqrdmulhq_s32(acc, multiplier);
    const int32x4_t toward = vaddq_s32(product, vshrq_n_s32(product, 31));
    return vaddq_n_s32(vrshlq_s32(toward, shift), zero_point);
}
#endif

/* LANES channels of one output pixel from channel c on; the weights are [tap][channel]. */
static void convolve(const ef_conv2d_args *a, const int8_t *const *taps, uint32_t count,
                     const int8_t *weights, uint32_t c, int8_t *out)
{
    const uint32_t pitch = a->in_c;
    const int8_t *w = weights + c;
#if EF_HAS_MVE
    /* Sums of channels 0, 4, 8, 12; 1, 5, 9, 13; and so on: as widening twice leaves them. */
    const uint32x4_t fourth = vidupq_n_u32(0, 4);
    const int32_t *table = a->bias + c;
    int32x4_t acc0 = vldrwq_gather_shifted_offset_s32(table, fourth);
    int32x4_t acc1 = vldrwq_gather_shifted_offset_s32(table + 1, fourth);
    int32x4_t acc2 = vldrwq_gather_shifted_offset_s32(table + 2, fourth);
    int32x4_t acc3 = vldrwq_gather_shifted_offset_s32(table + 3, fourth);
    if (count % 2 != 0) {
        const int8x16_t x = vldrbq_s8(*taps++ + c);
        const int8x16_t value = vldrbq_s8(w);
        const int16x8_t even = vmullbq_int_s8(x, value);
        const int16x8_t odd = vmulltq_int_s8(x, value);
        acc0 = vaddq_s32(acc0, vmovlbq_s16(even));
        acc2 = vaddq_s32(acc2, vmovltq_s16(even));
        acc1 = vaddq_s32(acc1, vmovlbq_s16(odd));
        acc3 = vaddq_s32(acc3, vmovltq_s16(odd));
        w += pitch;
    }
    for (uint32_t pair = count / 2; pair != 0; pair--) {
        /* two products of 8-bit values fit 16 bits: codes of weights are above -128 */
        const int8x16_t x = vldrbq_s8(taps[0] + c);
        const int8x16_t value = vldrbq_s8(w);
        const int8x16_t x_next = vldrbq_s8(taps[1] + c);
        const int8x16_t value_next = vldrbq_s8(w + pitch);
        const int16x8_t even =
            vaddq_s16(vmullbq_int_s8(x, value), vmullbq_int_s8(x_next, value_next));
        const int16x8_t odd =
            vaddq_s16(vmulltq_int_s8(x, value), vmulltq_int_s8(x_next, value_next));
        acc0 = vaddq_s32(acc0, vmovlbq_s16(even));
        acc2 = vaddq_s32(acc2, vmovltq_s16(even));
        acc1 = vaddq_s32(acc1, vmovlbq_s16(odd));
        acc3 = vaddq_s32(acc3, vmovltq_s16(odd));
        w += 2 * pitch;
        taps += 2;
    }
    const int8x16_t shift = vldrbq_s8(a->shift + c);
    const int16x8_t shift_even = vmovlbq_s8(shift);
    const int16x8_t shift_odd = vmovltq_s8(shift);
    const int32_t zero_point = a->out_zero_point;
    table = a->multiplier + c;
    acc0 = requantize(acc0, vldrwq_gather_shifted_offset_s32(table, fourth), vmovlbq_s16(shift_even),
                      zero_point);
    acc2 = requantize(acc2, vldrwq_gather_shifted_offset_s32(table + 2, fourth), vmovltq_s16(shift_even),
                      zero_point);
    acc1 = requantize(acc1, vldrwq_gather_shifted_offset_s32(table + 1, fourth), vmovlbq_s16(shift_odd),
                      zero_point);
    acc3 = requantize(acc3, vldrwq_gather_shifted_offset_s32(table + 3, fourth), vmovltq_s16(shift_odd),
                      zero_point);
    const int16x8_t even = vqmovntq_s32(vqmovnbq_s32(shift_even, acc0), acc2);
    const int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(shift_odd, acc1), acc3);
    int8x16_t all = vqmovntq_s16(vqmovnbq_s16(shift, even), odd);
    all = vmaxq_s8(all, vdupq_n_s8((int8_t)a->clamp_min));
    all = vminq_s8(all, vdupq_n_s8((int8_t)a->clamp_max));
    vstrbq_s8(out, all);
#else
    for (uint32_t lane = 0; lane < LANES; lane++) {
        const uint32_t oc = c + lane;
        int32_t acc = a->bias[oc];
        for (uint32_t tap = 0; tap < count; tap++) {
            acc += taps[tap][oc] * w[tap * pitch + lane];
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

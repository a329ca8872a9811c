#include "ef_conv2d.h"
#include "ef_mve.h"

/* Channels computed together. */
#define LANES 16u

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

/* LANES channels of one output pixel from channel c on. `taps` says where in `ring` the taps lie;
 * the weights are [tap][channel]. */
static void convolve(const ef_conv2d_args *a, const int8_t *ring, const uint32_t *taps,
                     uint32_t count, const int8_t *weights, uint32_t c, int8_t *out)
{
    const int8_t *const base = ring + c;
    const uint32_t pitch = a->in_c;
    const int8_t *w = weights + c;
#if EF_HAS_MVE
    /* Sums of channels 0, 4, 8, 12; 1, 5, 9, 13; and so on: as widening twice leaves them. */
    const uint32x4_t fourth = vidupq_n_u32(0, 4);
    const int32_t *table = (const int32_t *)a->bias + c;
    int32x4_t acc0 = vldrwq_gather_shifted_offset_s32(table, fourth);
    int32x4_t acc1 = vldrwq_gather_shifted_offset_s32(table + 1, fourth);
    int32x4_t acc2 = vldrwq_gather_shifted_offset_s32(table + 2, fourth);
    int32x4_t acc3 = vldrwq_gather_shifted_offset_s32(table + 3, fourth);
    if (count % 2 != 0) {
        const int8x16_t x = vldrbq_s8(base + *taps++);
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
        const int8x16_t x = vldrbq_s8(base + taps[0]);
        const int8x16_t value = vldrbq_s8(w);
        const int8x16_t x_next = vldrbq_s8(base + taps[1]);
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
    acc0 = requantize(acc0, vldrwq_gather_shifted_offset_s32(table, fourth),
                      vmovlbq_s16(shift_even), zero_point);
    acc2 = requantize(acc2, vldrwq_gather_shifted_offset_s32(table + 2, fourth),
                      vmovltq_s16(shift_even), zero_point);
    acc1 = requantize(acc1, vldrwq_gather_shifted_offset_s32(table + 1, fourth),
                      vmovlbq_s16(shift_odd), zero_point);
    acc3 = requantize(acc3, vldrwq_gather_shifted_offset_s32(table + 3, fourth),
                      vmovltq_s16(shift_odd), zero_point);
    const int16x8_t even = vqmovntq_s32(vqmovnbq_s32(shift_even, acc0), acc2);
    const int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(shift_odd, acc1), acc3);
    int8x16_t all = vqmovntq_s16(vqmovnbq_s16(shift, even), odd);
    all = vmaxq_s8(all, vdupq_n_s8((int8_t)a->clamp_min));
    all = vminq_s8(all, vdupq_n_s8((int8_t)a->clamp_max));
    vstrbq_s8(out, all);
#else
    for (uint32_t lane = 0; lane < LANES; lane++) {
        const uint32_t oc = c + lane;
        int32_t acc = ((const int32_t *)a->bias)[oc];
        for (uint32_t tap = 0; tap < count; tap++) {
            acc += base[taps[tap] + lane] * w[tap * pitch + lane];
        }
        acc = ef_requantize(acc, a->multiplier[oc], a->shift[oc]) + a->out_zero_point;
        out[lane] = ef_clamp_s8(acc, a->clamp_min, a->clamp_max);
    }
#endif
}

/* Copies line y of the map to a line of `columns`, with the padding around it. */
static void copy_line(const ef_conv2d_args *a, const int8_t *in, int32_t y, int32_t columns,
                      int8_t *line)
{
    const int32_t left = a->pad_left < columns ? a->pad_left : columns;
    const int32_t inside = columns - left < a->in_w ? columns - left : a->in_w;
    const uint32_t channels = a->in_c;
    if (y < 0 || y >= a->in_h) {
        ef_mve_fill(line, a->in_zero_point, (uint32_t)columns * channels);
    } else {
        int8_t *const first = line + (uint32_t)left * channels;
        int8_t *const end = first + (uint32_t)inside * channels;
        ef_mve_fill(line, a->in_zero_point, (uint32_t)left * channels);
        ef_mve_copy(first, in + y * a->in_w * a->in_c, (uint32_t)inside * channels);
        ef_mve_fill(end, a->in_zero_point, (uint32_t)(columns - left - inside) * channels);
    }
}

/* Where the taps of the first output of a row lie; `top` is the first of `span` lines, which are
 * kept in a ring. */
static void find_taps(const ef_conv2d_args *a, uint32_t span, uint32_t top, uint32_t line_bytes,
                      uint32_t *taps)
{
    const uint32_t step = (uint32_t)a->dilation_w * a->in_c;
    uint32_t slot = top % span;
    for (uint32_t ky = a->kernel_h; ky != 0; ky--) {
        uint32_t tap = slot * line_bytes;
        for (uint32_t kx = a->kernel_w; kx != 0; kx--) {
            *taps++ = tap;
            tap += step;
        }
        slot += a->dilation_h;
        if (slot >= span) {
            slot -= span;
        }
    }
}

void ef_depthwise_s8_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t count = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t channels = a->in_c;
    const uint32_t step = a->stride_w * channels;
    const int32_t span = (a->kernel_h - 1) * a->dilation_h + 1;
    const int32_t columns = (a->out_w - 1) * a->stride_w + (a->kernel_w - 1) * a->dilation_w + 1;
    const int32_t line_bytes = columns * a->in_c;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    uint32_t *taps = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    int8_t *ring = (int8_t *)(taps + count);
    const int8_t *w = (const int8_t *)weights->data;
    int32_t filled = 0; /* lines of the padded map */

    if (weights->decoder != NULL) {
        weights->decoder->decode(weights, NULL, 0, count * channels, tile);
        w = tile;
    }
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        const int32_t top = oy * a->stride_h;
        if (filled < top) {
            filled = top;
        }
        for (; filled < top + span; filled++) {
            copy_line(a, in, filled - a->pad_top, columns, ring + filled % span * line_bytes);
        }
        find_taps(a, (uint32_t)span, (uint32_t)top, (uint32_t)line_bytes, taps);
        for (int32_t ox = a->out_w; ox != 0; ox--) {
            for (uint32_t c = 0; c + LANES <= channels; c += LANES) {
                convolve(a, ring, taps, count, w, c, out + c);
            }
            if (channels % LANES != 0) {
                /* some channels once more, rather than reading past the last */
                convolve(a, ring, taps, count, w, channels - LANES, out + channels - LANES);
            }
            for (uint32_t tap = 0; tap < count; tap++) {
                taps[tap] += step;
            }
            out += channels;
        }
    }
}

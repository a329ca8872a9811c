/* Convolutions on int16 NHWC maps with int8 weights, batch 1: any groups, stride, dilation and
 * padding. Zero points are 0; padding is 0.
 *
 * out = clamp((sum * multiplier + 2^(shift - 1)) >> shift), TFLite's 16x8 scheme: one rounding, of
 * a product of 64 bits. `scratch` is what the exporter says, 4-aligned.
 */
#ifndef EF_CONV2D_S16_H
#define EF_CONV2D_S16_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_conv2d_s16_args {
    const void *weights;
    const void *channels;      /* of ef_wide_pair where the kernel asks for that, else NULL */
    const int32_t *bias;       /* [out_c] where no sum leaves 32 bits, else NULL */
    const int64_t *long_bias;  /* [out_c] otherwise */
    const int16_t *multiplier; /* [out_c], 0 or [2^14, 2^15) */
    const int8_t *shift;       /* [out_c], to the right, 8..46 */
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;
    uint16_t groups;
    int16_t clamp_min, clamp_max;
} ef_conv2d_s16_args;

/* Plain twin of the others, with sums of 64 bits. Weights in OHWI order. No scratch. */
void ef_conv2d_s16_ref(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch);

/* The others have sums of 32 bits, and shifts of 17 or more. */

/* Portable. Weights in OHWI order. No scratch. */
void ef_conv2d_s16(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out, void *scratch);

/* For cores with SMLAD. Weights as ef_wide_sums.h has them, an odd number of filters of a group made
 * even and taps padded to a multiple of 4. Scratch: two rows of inputs, padded likewise. */
void ef_conv2d_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                       void *scratch);

/* Depthwise ones (as many groups as input channels), portable. Weights in OHWI order. No scratch. */
void ef_depthwise_s16(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out, void *scratch);

/* The same for cores with SMLAD, by planes. Weights in OHWI order.
 * Scratch: what ef_depthwise_s8_windows_dsp takes for its planes and pairs of weights. */
void ef_depthwise_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                          void *scratch);

#ifdef __cplusplus
}
#endif

#endif

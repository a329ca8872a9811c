/* Convolutions whose weights are mostly 0, on int8 NHWC maps, batch 1: only the others are stored,
 * each with its distance from the one before, and only they are multiplied.
 */
#ifndef EF_SPARSE_CONV_H
#define EF_SPARSE_CONV_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Output pixels computed together. */
#define EF_SPARSE_PIXELS 4

typedef struct ef_sparse_conv_args {
    const uint8_t *entries;    /* pairs: distance in the receptive field, weight; all channels
                                * after one another. The field is in the order (kernel row, kernel
                                * column, input channel); a channel's first distance is from its
                                * start. Gaps above 255 hold pairs of weight 0. */
    const uint16_t *counts;    /* [out_c], pairs of each channel */
    const int32_t *bias;       /* [out_c], with -in_zero_point * sum(weights) folded in */
    const int32_t *multiplier; /* [out_c], in [2^30, 2^31) */
    const int8_t *shift;       /* [out_c], > 0 is to the left */
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;
    int16_t in_zero_point;     /* the value of padding */
    int16_t out_zero_point;
    int16_t clamp_min, clamp_max;
} ef_sparse_conv_args;

/* `scratch` holds EF_SPARSE_PIXELS receptive fields. */
void ef_sparse_conv_s8(const ef_sparse_conv_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Plain twin; no scratch. */
void ef_sparse_conv_s8_ref(const ef_sparse_conv_args *a, const int8_t *in, int8_t *out,
                           void *scratch);

#ifdef __cplusplus
}
#endif

#endif

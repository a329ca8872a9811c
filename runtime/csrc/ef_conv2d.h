/* Convolutions on int8 NHWC maps, batch 1: any groups (depthwise with any multiplier), stride,
 * dilation and padding; a dense layer is a 1x1 convolution of a 1x1 map.
 *
 * All kernels share this struct and signature. They differ in the order that they want the weights
 * in, and in what must hold for them; the exporter's kernel choice (export/conv_kernels/choice.py) sees to
 * both. `scratch` is what the choice says, 4-aligned; it holds nothing between calls.
 */
#ifndef EF_CONV2D_H
#define EF_CONV2D_H

#include <stdint.h>

#include "ef_weights.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_conv2d_args {
    ef_weights weights;
    const void *bias;          /* int32_t [out_c], with -in_zero_point * sum(weights) folded in, and
                                * what a kernel asks for below */
    const int32_t *multiplier; /* [out_c], in [2^30, 2^31) */
    const int8_t *shift;       /* [out_c], > 0 is to the left */
    uint32_t tile_offset;      /* where decoded weights go in scratch, in bytes */
    uint32_t strip_offset;     /* where gathered inputs go in scratch, in bytes */
    uint16_t strip_pixels;     /* output pixels gathered at a time */
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;
    uint16_t groups;
    int16_t in_zero_point;     /* the value of padding */
    int16_t out_zero_point;
    int8_t clamp_min, clamp_max;
    uint8_t packed;            /* not 0: the three tables are packed (ef_channel.h), which kernels
                                * read but for those named _swar, _sums and _mve */
} ef_conv2d_args;

/* Dense, or 1x1 without padding or groups, with sparse weights (ef_sparse.h): computes only with
 * what is left of them. Any core. */
void ef_conv2d_s8_sparse(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Plain twin of all the others. Weights in OHWI order, any encoding. No scratch. */
void ef_conv2d_s8_ref(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Portable. Weights in blocks of 4 output channels, [block][k][4], as value + 128;
 * biases less 128 * sum(weights). */
void ef_conv2d_s8(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Portable, one input channel per group. Weights in OHWI order; biases less 128 * sum(weights).
 * May write in place if out_c == in_c and the map keeps its size. */
void ef_depthwise_s8(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For cores without multiply-accumulate: two pixels with one multiply (ef_swar.h). Weights and
 * biases as ef_conv2d_s8 wants them, all shifts to the right. */
void ef_conv2d_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same for a dense layer, weight by weight. */
void ef_dense_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For the same cores: a dense layer with 4-bit weights by tables of sums (ef_sums.h). Weights in
 * the order [4 taps][channel][tap], channels padded to a multiple of 4; all shifts to the right. */
void ef_dense_s8_sums(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For the same cores: depthwise 3x3 without dilation, two pixels with one multiply. Weights in OHWI
 * order; all shifts to the right. May write in place if out_c == in_c and the map keeps its
 * size. */
void ef_depthwise_s8_swar(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For cores with SMLAD. Weights in o8 order (ef_o8.h). `in` is 4-aligned. */
void ef_conv2d_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same for kernels wider than one tap, without groups or dilation along the row, and in_c a
 * multiple of 4: the inputs of a run of output pixels are gathered once for all of them. */
void ef_conv2d_s8_rows_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* These two with 4-bit weights in arithmetic progression: four digits in half a word, straight from
 * flash. Weights in digit order, blocks of 4 channels: see ef_dense_s8_digits_dsp. */
void ef_conv2d_s8_digits_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);
void ef_conv2d_s8_rows_digits_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                  void *scratch);

/* And with 2-bit weights: blocks of 4 channels as [4 taps] of the words of ef_digits_2bit.h. */
void ef_conv2d_s8_digits_2bit_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                  void *scratch);
void ef_conv2d_s8_rows_digits_2bit_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                       void *scratch);

/* ef_conv2d_s8_dsp where the kernel covers the whole input, without padding: one output pixel. */
void ef_dense_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same dense layer with 4-bit weights, looked up two at a time instead of decoded. Weights in
 * pair order: [block of 4 channels][tap pair][channel][tap of the pair]. */
void ef_dense_s8_pairs_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* A dense layer with 4-bit weights in arithmetic progression: table[0] + step * digit, four digits
 * in half a word, and no look-up. Weights in digit order:
 * [block of 8 channels][tap pair][4 channels][tap of the pair][channel]; the digit of every fourth
 * channel is less 8, as a signed number. */
void ef_dense_s8_digits_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same with 2-bit weights, in words of 4 taps of 4 channels (ef_digits_2bit.h): blocks of 8
 * channels as [4 taps][2 words]. */
void ef_dense_s8_digits_2bit_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                 void *scratch);

/* A dense layer with vectors of 4 weights, looked up where they lie in flash. `data` begins with
 * the 256 vectors as two words, taps (0, 2) and (1, 3); the codes follow as
 * [block of 4 channels][4 taps][channel]. No table. */
void ef_dense_s8_vectors_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* Depthwise 3x3 with any multiplier for cores with SMLAD, strides of 1 and 2, no dilation. Weights
 * in OHWI order. May write in place if out_c == in_c and the map keeps its size. */
void ef_depthwise_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same for any kernel, stride and dilation; for cores with unaligned loads too. */
void ef_depthwise_s8_windows_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                 void *scratch);

/* For cores with the vector extension MVE. Weights in OHWI order, with rows added so that each
 * group has a multiple of 4 output channels. */
void ef_conv2d_s8_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For MVE: a dense layer with 4-bit weights, decoded in registers. Rows padded to a multiple of 32
 * taps and 4 channels, in each run of 32 the taps in the order 0, 16, 1, 17, ... */
void ef_dense_s8_4bit_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* The same with 2-bit weights: runs of 64 taps in the order 0, 16, 32, 48, 1, 17, ... */
void ef_dense_s8_2bit_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

/* For MVE: depthwise with multiplier 1, 16 channels or more, all shifts to the right. Weights in
 * HWO order. May write in place if the map keeps its size and pad_top is below the kernel's
 * reach. */
void ef_depthwise_s8_mve(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch);

#ifdef __cplusplus
}
#endif

#endif

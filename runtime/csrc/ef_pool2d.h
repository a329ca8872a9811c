/* Average and maximum pooling on int8 or int16 NHWC maps, batch 1.
 *
 * Padded positions take no part: an average divides by the number of positions inside the map.
 * Every window must hold at least one such position. `out` may be `in` where pad_top and pad_left
 * are 0 and out_w <= stride_h * in_w, because then no byte is written before it is read.
 */
#ifndef EF_POOL2D_H
#define EF_POOL2D_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_pool2d_args {
    int32_t in_h, in_w, channels;
    int32_t out_h, out_w;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left;
} ef_pool2d_args;

/* Sum over the window / number of positions, rounded to nearest, halves away from zero.
 * kernel_h * kernel_w < 2^23. */
void ef_average_pool2d_s8_ref(const ef_pool2d_args *a, const int8_t *in, int8_t *out);

/* The same, four channels at a time: channels a multiple of 4, `in` 4-aligned, kernel_w <= 256. */
void ef_average_pool2d_s8(const ef_pool2d_args *a, const int8_t *in, int8_t *out);

/* Largest value of the window. */
void ef_max_pool2d_s8_ref(const ef_pool2d_args *a, const int8_t *in, int8_t *out);

/* The same, four channels at a time: channels a multiple of 4, `in` and `out` 4-aligned. */
void ef_max_pool2d_s8(const ef_pool2d_args *a, const int8_t *in, int8_t *out);

/* On int16; kernel_h * kernel_w < 2^15. */
void ef_average_pool2d_s16(const ef_pool2d_args *a, const int16_t *in, int16_t *out);
void ef_max_pool2d_s16(const ef_pool2d_args *a, const int16_t *in, int16_t *out);

/* The part of a window that lies inside the map, along one axis. */
typedef struct ef_pool2d_span {
    int32_t first, end;
} ef_pool2d_span;

static inline ef_pool2d_span ef_pool2d_clip(int32_t index, int32_t stride, int32_t pad,
                                            int32_t kernel, int32_t size)
{
    ef_pool2d_span span;
    const int32_t start = index * stride - pad;
    span.first = start > 0 ? start : 0;
    span.end = start + kernel < size ? start + kernel : size;
    return span;
}

static inline int32_t ef_pool2d_mean(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

#ifdef __cplusplus
}
#endif

#endif

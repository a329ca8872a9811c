/* Bilinear resizing of an int8 NHWC map, batch 1. `out` must not overlap `in`.
 *
 * Positions have 10 fractional bits: row y of the output lies at y * scale_h + offset_h of the
 * input. The exporter has checked that every position lies before the end of the input. */
#ifndef EF_RESIZE_BILINEAR_H
#define EF_RESIZE_BILINEAR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_resize_bilinear_args {
    int32_t in_h, in_w, channels;
    int32_t out_h, out_w;
    int32_t scale_h, scale_w;
    int32_t offset_h, offset_w;
} ef_resize_bilinear_args;

void ef_resize_bilinear_s8(const ef_resize_bilinear_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

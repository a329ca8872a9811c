/* A depthwise 3x3 convolution of one channel for cores without multiply-accumulate: a word of the
 * plane is x0 + 65536 * x1, inputs of the same column and of rows half an output apart.
 */
#ifndef EF_SWAR_3X3_H
#define EF_SWAR_3X3_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_swar_3x3 {
    int32_t weights[9];
    int32_t bias;
    int32_t multiplier;
    int32_t shift; /* in -22..-1 */
    int32_t zero_point, low, high;
    const uint32_t *plane; /* the first output's first tap */
    int32_t pitch;         /* bytes from a line of the plane to the next */
    int32_t step;          /* bytes from an output's first tap to that of the next one */
    int32_t gap;           /* more bytes from a row's last output to the next row's first */
    int32_t columns, rows; /* outputs */
    int8_t *out;
    int32_t out_step;
    int32_t out_second; /* bytes from an output to its partner; 0: there is none */
} ef_swar_3x3;

void ef_swar_3x3_run(const ef_swar_3x3 *channel);

#ifdef __cplusplus
}
#endif

#endif

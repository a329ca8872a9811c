/* Depthwise convolution of a plane (ef_plane.h) with a kernel of any size. */
#ifndef EF_PLANE_WINDOWS_H
#define EF_PLANE_WINDOWS_H

#include "ef_plane.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Words in a line of the kernel up to which there is a loop in assembler, from 2 on. */
#define EF_PLANE_WORDS 4

/* One output channel. Outputs are computed in pairs of neighbours of a line; the assembler knows the
 * offsets. */
typedef struct ef_plane_windows {
    ef_plane_channel channel;
    const uint32_t *weights; /* doubled (for int16: as they are). Stride 1: per line of the kernel and word of a pair's inputs
                              * (w[2j], w[2j+1]) for the first output, (w[2j-1], w[2j]) for the
                              * second one, which begins in the middle of a word.
                              * Else: per line (w[2j], w[2j+1]) */
    const uint32_t *weights_end;
    int32_t kernel_step;     /* bytes from one line of the plane to the next that the kernel reads;
                              * a long line of a kernel that has but one is some short ones */
    int32_t pair_step;       /* from pair to pair: 4 * stride */
    int32_t pairs_bytes;     /* pair_step for each pair of a line */
    int32_t odd;             /* whether one output is left after them */
    int32_t lines;           /* of outputs */
    int32_t plane_step;      /* from a line of outputs to the next */
    int32_t line_step;       /* the same in the output */
    int32_t out_step;        /* from one output to the next along the line */
    int32_t words;           /* of a line of the kernel */
    int32_t stride;
} ef_plane_windows;

/* plane: words (x[2j], x[2j+1]), line by line; a word more than the weights have may be read. */
void ef_plane_windows_run(const ef_plane_windows *run, const int8_t *plane, int8_t *out);

/* On int16, with another rounding: out = (sum * multiplier / 2^16 + offset) >> shift, saturated, where
 * offset is 2^(shift - 1) and shift at least 1. Biases are as they are, output steps count bytes. */
void ef_plane_windows_s16_run(const ef_plane_windows *run, const int8_t *plane, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

/* Moves channels of an int8 NHWC map, batch 1, by whole pixels: the shift of Wu et al. 2017
 * (arXiv 1711.08141). No arithmetic: bytes are copied, and zero points come in at the edges.
 */
#ifndef EF_SHIFT_H
#define EF_SHIFT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of one run of neighbouring channels in `runs`: how many, rows and columns. */
#define EF_SHIFT_RUN_NUMBERS 3u

/* out[y][x][c] = in[y + rows][x + columns][c], zero_point where that is outside the map, with the
 * rows and columns of the run that channel c belongs to. The runs cover all channels in order. */
typedef struct ef_shift_args {
    const int16_t *runs;
    uint32_t run_count;
    int32_t height, width, channels;
    int8_t zero_point;
} ef_shift_args;

/* `in` and `out` do not overlap. */
void ef_shift_s8(const ef_shift_args *a, const int8_t *in, int8_t *out);

/* Plain twin. */
void ef_shift_s8_ref(const ef_shift_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

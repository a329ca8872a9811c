/* Depthwise convolution by planes: one channel is copied out as int16 with its padding, and its
 * lines are convolved from there.
 *
 * Lines run along the longer side of the output, so "along" and "across" stand for either of width
 * and height.
 */
#ifndef EF_PLANE_H
#define EF_PLANE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the elements of a channel go in its plane. The words that are padding altogether are not
 * touched: they are written once and stay as they are from channel to channel. */
typedef struct ef_plane_source {
    int32_t first;        /* bytes to the first word with an element of the map */
    uint32_t lines;       /* with elements of the map */
    uint32_t starts_odd;  /* whether its first element is a high half, beside padding */
    uint32_t pairs;       /* whole words after that */
    uint32_t ends_odd;    /* whether one element is left, a low half */
    int32_t padding;
    int32_t in_step;      /* bytes from one element to the next along the line */
    int32_t in_line_step; /* and from line to line */
    int32_t word_step;    /* bytes from word to word of a line of the plane */
    int32_t line_step;    /* and from line to line */
} ef_plane_source;

/* Writes the elements of one channel, whose first one is at `in`. */
void ef_plane_fill(const ef_plane_source *source, const int8_t *in, int8_t *plane);

/* One output channel; the assembler knows the offsets. */
typedef struct ef_plane_3x3 {
    uint32_t weights[6];  /* per line of the kernel: (w0, w1), (w1, w2), all doubled */
    int32_t bias;         /* doubled */
    int32_t multiplier;
    int32_t offset, shift; /* see ef_requantize_doubled */
    uint32_t pairs;   /* of neighbouring outputs in a line, if they are one element apart, ... */
    uint32_t singles; /* ... and outputs after them, two elements apart */
    uint32_t lines;   /* of outputs */
    int32_t out_step;    /* from one output to the next along the line */
    int32_t line_step;   /* from one line of outputs to the next */
    int32_t column_step; /* bytes from one word of the plane to the next along the line */
    int32_t plane_step;  /* bytes from the words of a line of outputs to those of the next */
} ef_plane_3x3;

/* Stride 1 or 2 along the line. plane: words (x[2j], x[2j+1]) of a line, column by column: the words of
 * the lines 0, 1, 2, ... lie one after the other, then those of the next two columns. */
void ef_plane_3x3_run(const ef_plane_3x3 *channel, const uint32_t *plane, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

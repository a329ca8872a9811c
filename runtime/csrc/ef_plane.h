/* Depthwise convolution by planes: one channel is copied out as int16 with its padding, and its
 * lines are convolved from there.
 */
#ifndef EF_PLANE_H
#define EF_PLANE_H

#include <stdint.h>

#include "ef_simd.h"

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

/* Fills a plane with padding. */
static inline void ef_plane_pad(int8_t *plane, uint32_t words, int32_t padding)
{
    const uint32_t both = ef_pack(padding, padding);
    for (; words != 0; words--) {
        ef_store_word(plane, both);
        plane += 4;
    }
}

/* Writes the elements of one channel, whose first one is at `in`. */
void ef_plane_fill(const ef_plane_source *source, const int8_t *in, int8_t *plane);

/* The same for a map of int16, whose steps count bytes too. */
void ef_plane_fill_s16(const ef_plane_source *source, const int8_t *in, int8_t *plane);

/* How the sums of an output channel become int8 (ef_requantize_doubled), and where they begin. */
typedef struct ef_plane_channel {
    int32_t multiplier;
    int32_t offset, shift;
    int32_t bias; /* doubled */
} ef_plane_channel;

static inline int8_t ef_plane_requantize(const ef_plane_channel *c, int32_t sum)
{
    return (int8_t)ef_requantize_doubled(sum, c->multiplier, c->offset, c->shift);
}

/* One output channel; the assembler knows the offsets. */
typedef struct ef_plane_3x3 {
    uint32_t weights[6];    /* per line of the kernel: (w0, w1), (w1, w2), all doubled */
    ef_plane_channel channel;
    int32_t out_step;       /* from one output to the next along the line */
    int32_t column_step;    /* bytes from one word of the plane to the next along the line */
    uint32_t pairs_bytes;   /* column_step for each pair of neighbouring outputs in a line, if they
                             * are one element apart, ... */
    uint32_t singles_bytes; /* ... and for each output after them, two elements apart */
    uint32_t lines;         /* of outputs */
    int32_t plane_step;     /* bytes from the words of a line of outputs to those of the next */
    int32_t line_step;      /* from one line of outputs to the next */
} ef_plane_3x3;

/* Stride 1 or 2 along the line. plane: words (x[2j], x[2j+1]) of a line, column by column: the words of
 * the lines 0, 1, 2, ... lie one after the other, then those of the next two columns. */
void ef_plane_3x3_run(const ef_plane_3x3 *run, const uint32_t *plane, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

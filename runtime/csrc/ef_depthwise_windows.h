/* What the depthwise kernels by planes and windows share, on int8 and on int16: the phases of a
 * dilation, how a line of the kernel is cut, and the numbers of a run. */
#ifndef EF_DEPTHWISE_WINDOWS_H
#define EF_DEPTHWISE_WINDOWS_H

#include "ef_depthwise_planes.h"
#include "ef_plane_windows.h"
#include "ef_simd.h"

/* With dilation along the line, outputs that lie `stride` apart read inputs that lie `dilation`
 * apart. Those that read the same ones form a phase: a convolution without dilation of every
 * dilation-th input, with a plane of its own. Output phase + m * phases begins at the element
 * phase * stride + m * stride * phases, and stride * phases is a multiple of dilation. */
static inline int32_t ef_windows_phases_of(const ef_direction *d)
{
    int32_t common = d->stride;
    int32_t rest = d->dilation;
    while (rest != 0) {
        const int32_t next = common % rest;
        common = rest;
        rest = next;
    }
    return d->dilation / common;
}

static inline int32_t ef_windows_outputs_of(const ef_direction *d, int32_t phases, int32_t phase)
{
    return (d->out - phase + phases - 1) / phases;
}

/* What a phase reads of the map. Returns the bytes to the first element. */
static inline int32_t ef_windows_phase_inputs(const ef_direction *d, int32_t phase, ef_direction *inputs)
{
    const int32_t begin = phase * d->stride - d->pad;
    const int32_t pad = begin < 0 ? (d->dilation - 1 - begin) / d->dilation : 0;
    const int32_t first = begin + pad * d->dilation;
    inputs->pad = pad;
    inputs->in = first < d->in ? (d->in - first + d->dilation - 1) / d->dilation : 0;
    inputs->in_step = d->in_step * d->dilation;
    return first * d->in_step;
}

/* How the line of a kernel is cut: into one piece, or if it is the only one and long, into some that
 * the assembler has loops for. */
typedef struct {
    int32_t pieces, words;
} ef_kernel_line;

static inline ef_kernel_line ef_windows_cut(const ef_directions *d, int32_t stride)
{
    const int32_t kernel = d->along.kernel;
    ef_kernel_line line;
    line.pieces = 1;
    /* an output that begins in the middle of a word may need a word more */
    line.words = stride == 1 ? kernel / 2 + 1 : (kernel + 1) / 2;
    if (d->across.kernel == 1 && line.words > EF_PLANE_WORDS) {
        line.pieces = (line.words + EF_PLANE_WORDS - 1) / EF_PLANE_WORDS;
        line.words = (line.words + line.pieces - 1) / line.pieces;
    }
    return line;
}

/* Everything about the planes of a channel. */
typedef struct ef_phase_planes {
    ef_directions d;    /* of a phase: along the line without dilation */
    ef_direction along; /* of the map */
    int32_t phases;
    int32_t padding;
    int32_t lines, words;
    int32_t plane_bytes;
    ef_kernel_line line;
    int8_t *planes;
    uint32_t *pairs; /* weights of a channel, behind the planes */
} ef_phase_planes;

/* Fills the rest in, from d of the map, padding and planes, and everything of `run` that is the same
 * for all channels. */
static inline void ef_windows_begin(ef_phase_planes *p, ef_plane_windows *run)
{
    p->along = p->d.along;
    p->phases = ef_windows_phases_of(&p->along);
    p->d.along.out = ef_windows_outputs_of(&p->along, p->phases, 0);
    p->d.along.stride = p->along.stride * p->phases / p->along.dilation;
    p->d.along.dilation = 1;
    p->lines = ef_reach(&p->d.across);
    /* one word more than the outputs need, for the odd taps of the last pair */
    p->words = ef_reach(&p->d.along) / 2 + 1;
    ef_plane_pad(p->planes, (uint32_t)(p->phases * p->lines * p->words), p->padding);

    const int32_t stride = p->d.along.stride;
    const ef_kernel_line line = ef_windows_cut(&p->d, stride);
    p->line = line;
    p->plane_bytes = 4 * p->words * p->lines;
    p->pairs = (uint32_t *)(void *)(p->planes + p->phases * p->plane_bytes);
    run->weights = p->pairs;
    run->weights_end =
        p->pairs + p->d.across.kernel * line.pieces * line.words * (stride == 1 ? 2 : 1);
    run->words = line.words;
    run->lines = p->d.across.out;
    run->stride = stride;
    run->pair_step = 4 * stride;
    run->kernel_step = line.pieces == 1 ? 4 * p->words * p->d.across.dilation : 4 * line.words;
    run->plane_step = 4 * p->words * p->d.across.stride;
    run->out_step = p->along.out_step * p->phases;
    run->line_step = p->d.across.out_step;
}

/* Copies a channel to its planes. */
static inline void ef_windows_fill(ef_phase_planes *p, const int8_t *in,
                                   void (*fill)(const ef_plane_source *, const int8_t *, int8_t *))
{
    for (int32_t phase = 0; phase < p->phases; phase++) {
        const int32_t first = ef_windows_phase_inputs(&p->along, phase, &p->d.along);
        const ef_plane_source source =
            ef_plane_source_of(&p->d, p->padding, p->lines, p->words, 4 * p->words, 4);
        fill(&source, in + first, p->planes + phase * p->plane_bytes);
    }
}

/* Weights of one channel, times `factor`, as ef_plane_windows wants them. */
static inline void ef_windows_pair(const ef_phase_planes *p, const int8_t *w, int32_t factor)
{
    const int32_t stride = p->d.along.stride;
    const int32_t step = p->d.along.weight_step;
    const int32_t end = p->d.along.kernel * step;
    const int32_t padded_end = 2 * p->line.pieces * p->line.words * step;
    uint32_t *pairs = p->pairs;
    for (int32_t k = 0; k < p->d.across.kernel; k++) {
        int32_t before = 0;
        for (int32_t j = 0; j < padded_end; j += 2 * step) {
            const int32_t low = j < end ? factor * w[j] : 0;
            const int32_t high = j + step < end ? factor * w[j + step] : 0;
            *pairs++ = ef_pack(low, high);
            if (stride == 1) {
                *pairs++ = ef_pack(before, low);
            }
            before = high;
        }
        w += p->d.across.weight_step;
    }
}

/* Convolves the planes with the weights that were paired last. */
static inline void ef_windows_convolve(const ef_phase_planes *p, ef_plane_windows *run, int8_t *out,
                                       void (*convolve)(const ef_plane_windows *, const int8_t *,
                                                        int8_t *))
{
    for (int32_t phase = 0; phase < p->phases; phase++) {
        const int32_t outputs = ef_windows_outputs_of(&p->along, p->phases, phase);
        run->pairs_bytes = outputs / 2 * run->pair_step;
        run->odd = outputs % 2;
        convolve(run, p->planes + phase * p->plane_bytes, out + phase * p->along.out_step);
    }
}

#endif

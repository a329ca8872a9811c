#include "ef_attributes.h"
#include "ef_clamp_outputs.h"
#include "ef_depthwise_planes.h"
#include "ef_plane_windows.h"
#include "ef_simd.h"

/* With dilation along the line, outputs that lie `stride` apart read inputs that lie `dilation`
 * apart. Those that read the same ones form a phase: a convolution without dilation of every
 * dilation-th input, with a plane of its own. Output phase + m * phases begins at the element
 * phase * stride + m * stride * phases, and stride * phases is a multiple of dilation. */
static int32_t phases_of(const ef_direction *d)
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

static int32_t outputs_of(const ef_direction *d, int32_t phases, int32_t phase)
{
    return (d->out - phase + phases - 1) / phases;
}

/* What a phase reads of the map. Returns the bytes to the first element. */
static int32_t phase_inputs(const ef_direction *d, int32_t phase, ef_direction *inputs)
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
} kernel_line;

static kernel_line cut(const ef_directions *d, int32_t stride)
{
    const int32_t kernel = d->along.kernel;
    kernel_line line;
    line.pieces = 1;
    /* an output that begins in the middle of a word may need a word more */
    line.words = stride == 1 ? kernel / 2 + 1 : (kernel + 1) / 2;
    if (d->across.kernel == 1 && line.words > EF_PLANE_WORDS) {
        line.pieces = (line.words + EF_PLANE_WORDS - 1) / EF_PLANE_WORDS;
        line.words = (line.words + line.pieces - 1) / line.pieces;
    }
    return line;
}

/* Doubled weights of one channel as ef_plane_windows wants them. */
static void pair_weights(const ef_directions *d, int32_t stride, kernel_line line,
                         const int8_t *w, uint32_t *pairs)
{
    const int32_t step = d->along.weight_step;
    const int32_t end = d->along.kernel * step;
    const int32_t padded_end = 2 * line.pieces * line.words * step;
    for (int32_t k = 0; k < d->across.kernel; k++) {
        int32_t before = 0;
        for (int32_t j = 0; j < padded_end; j += 2 * step) {
            const int32_t low = j < end ? 2 * w[j] : 0;
            const int32_t high = j + step < end ? 2 * w[j + step] : 0;
            *pairs++ = ef_pack(low, high);
            if (stride == 1) {
                *pairs++ = ef_pack(before, low);
            }
            before = high;
        }
        w += d->across.weight_step;
    }
}

/* Everything about the planes of a channel. */
typedef struct {
    ef_directions d;    /* of a phase: along the line without dilation */
    ef_direction along; /* of the map */
    int32_t phases;
    int32_t padding;
    int32_t lines, words;
    int8_t *planes;
} phase_planes;

static EF_OUT_OF_LINE void fill(phase_planes *p, const int8_t *in)
{
    for (int32_t phase = 0; phase < p->phases; phase++) {
        const int32_t first = phase_inputs(&p->along, phase, &p->d.along);
        const ef_plane_source source =
            ef_plane_source_of(&p->d, p->padding, p->lines, p->words, 4 * p->words, 4);
        ef_plane_fill(&source, in + first, p->planes + phase * 4 * p->words * p->lines);
    }
}

void ef_depthwise_s8_windows_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                 void *scratch)
{
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t per_input = (uint32_t)a->out_c / a->in_c;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    phase_planes p;
    ef_plane_windows run;
    uint32_t oc = 0;

    ef_directions_of(a, &p.d);
    p.along = p.d.along;
    p.phases = phases_of(&p.along);
    p.padding = a->in_zero_point;
    p.d.along.out = outputs_of(&p.along, p.phases, 0);
    p.d.along.stride = p.along.stride * p.phases / p.along.dilation;
    p.d.along.dilation = 1;
    p.lines = ef_reach(&p.d.across);
    /* one word more than the outputs need, for the odd taps of the last pair */
    p.words = ef_reach(&p.d.along) / 2 + 1;
    p.planes = (int8_t *)scratch + a->strip_offset;
    ef_plane_pad(p.planes, (uint32_t)(p.phases * p.lines * p.words), p.padding);

    const int32_t plane_bytes = 4 * p.words * p.lines;
    const int32_t stride = p.d.along.stride;
    const kernel_line line = cut(&p.d, stride);
    uint32_t *pairs = (uint32_t *)(void *)(p.planes + p.phases * plane_bytes);
    run.weights = pairs;
    run.weights_end =
        pairs + p.d.across.kernel * line.pieces * line.words * (stride == 1 ? 2 : 1);
    run.words = line.words;
    run.lines = p.d.across.out;
    run.stride = stride;
    run.pair_step = 4 * stride;
    run.kernel_step = line.pieces == 1 ? 4 * p.words * p.d.across.dilation : 4 * line.words;
    run.plane_step = 4 * p.words * p.d.across.stride;
    run.out_step = p.along.out_step * p.phases;
    run.line_step = p.d.across.out_step;
    for (uint32_t c = 0; c < a->in_c; c++) {
        fill(&p, in + c);
        for (uint32_t end = oc + per_input; oc != end; oc++) {
            const int8_t *w = ef_depthwise_weights(&a->weights, oc * taps, taps, tile);
            pair_weights(&p.d, stride, line, w, pairs);
            run.channel = ef_plane_channel_of(a, oc);
            for (int32_t phase = 0; phase < p.phases; phase++) {
                const int32_t outputs = outputs_of(&p.along, p.phases, phase);
                run.pairs_bytes = outputs / 2 * run.pair_step;
                run.odd = outputs % 2;
                ef_plane_windows_run(&run, p.planes + phase * plane_bytes,
                                     out + (int32_t)oc + phase * p.along.out_step);
            }
        }
    }
    ef_clamp_outputs(a, out, (uint32_t)a->out_h * a->out_w * a->out_c);
}

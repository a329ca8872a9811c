#include "ef_clamp_outputs.h"
#include "ef_depthwise_planes.h"
#include "ef_simd.h"

static void overlap_weights(const ef_directions *d, const int8_t *w, uint32_t *pairs)
{
    const int32_t line_step = d->across.weight_step;
    const int32_t step = d->along.weight_step;
    for (int32_t k = 0; k < 3; k++) {
        const int32_t middle = 2 * w[step];
        *pairs++ = ef_pack(2 * w[0], middle);
        *pairs++ = ef_pack(middle, 2 * w[2 * step]);
        w += line_step;
    }
}

void ef_depthwise_s8_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    ef_directions d;
    ef_directions_of(a, &d);
    const uint32_t per_input = (uint32_t)a->out_c / a->in_c;
    const int32_t lines = ef_reach(&d.across);
    /* one word more than the outputs need, for the odd taps of the last pair */
    const int32_t words = ef_reach(&d.along) / 2 + 1;
    const ef_plane_source source =
        ef_plane_source_of(&d, a->in_zero_point, lines, words, 4, 4 * lines);
    int8_t *plane = (int8_t *)scratch + a->strip_offset;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    const uint32_t pairs = d.along.stride == 1 ? (uint32_t)d.along.out / 2 : 0;
    const uint32_t column_bytes = 4 * (uint32_t)lines;
    ef_plane_3x3 run;
    uint32_t oc = 0;

    ef_plane_pad(plane, (uint32_t)(lines * words), a->in_zero_point);
    run.out_step = d.along.out_step;
    run.column_step = (int32_t)column_bytes;
    run.pairs_bytes = pairs * column_bytes;
    run.singles_bytes = ((uint32_t)d.along.out - 2 * pairs) * column_bytes;
    run.lines = (uint32_t)d.across.out;
    run.plane_step = 4 * d.across.stride;
    run.line_step = d.across.out_step;
    for (uint32_t c = 0; c < a->in_c; c++) {
        ef_plane_fill(&source, in + c, plane);
        for (uint32_t end = oc + per_input; oc != end; oc++) {
            overlap_weights(&d, ef_depthwise_weights(weights, oc * 9, 9, tile), run.weights);
            run.channel = ef_plane_channel_of(a, oc);
            ef_plane_3x3_run(&run, (const uint32_t *)(const void *)plane, out + oc);
        }
    }
    ef_clamp_outputs(a, out, (uint32_t)a->out_h * a->out_w * a->out_c);
}

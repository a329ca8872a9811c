#include "ef_attributes.h"
#include "ef_clamp_outputs.h"
#include "ef_depthwise_windows.h"

static EF_OUT_OF_LINE void fill(ef_phase_planes *p, const int8_t *in)
{
    ef_windows_fill(p, in, ef_plane_fill);
}

void ef_depthwise_s8_windows_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                 void *scratch)
{
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t per_input = (uint32_t)a->out_c / a->in_c;
    int8_t *tile = (int8_t *)scratch + a->tile_offset;
    ef_phase_planes p;
    ef_plane_windows run;
    uint32_t oc = 0;

    ef_directions_of(a, &p.d);
    p.padding = a->in_zero_point;
    p.planes = (int8_t *)scratch + a->strip_offset;
    ef_windows_begin(&p, &run);
    for (uint32_t c = 0; c < a->in_c; c++) {
        fill(&p, in + c);
        for (uint32_t end = oc + per_input; oc != end; oc++) {
            ef_windows_pair(&p, ef_depthwise_weights(&a->weights, oc * taps, taps, tile), 2);
            run.channel = ef_plane_channel_of(a, oc);
            ef_windows_convolve(&p, &run, out + oc, ef_plane_windows_run);
        }
    }
    ef_clamp_outputs(a, out, (uint32_t)a->out_h * a->out_w * a->out_c);
}

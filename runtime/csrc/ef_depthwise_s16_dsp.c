#include "ef_attributes.h"
#include "ef_clamp_row_s16.h"
#include "ef_conv2d_s16.h"
#include "ef_depthwise_windows.h"

/* The two directions of the map; steps between elements count bytes. */
static EF_OUT_OF_LINE void directions(const ef_conv2d_s16_args *a, ef_directions *found)
{
    ef_conv2d_args geometry;
    memset(&geometry, 0, sizeof geometry);
    geometry.in_h = a->in_h;
    geometry.in_w = a->in_w;
    geometry.in_c = a->in_c;
    geometry.out_h = a->out_h;
    geometry.out_w = a->out_w;
    geometry.out_c = a->out_c;
    geometry.kernel_h = a->kernel_h;
    geometry.kernel_w = a->kernel_w;
    geometry.stride_h = a->stride_h;
    geometry.stride_w = a->stride_w;
    geometry.dilation_h = a->dilation_h;
    geometry.dilation_w = a->dilation_w;
    geometry.pad_top = a->pad_top;
    geometry.pad_left = a->pad_left;
    ef_directions_of(&geometry, found);
    found->along.in_step *= (int32_t)sizeof(int16_t);
    found->along.out_step *= (int32_t)sizeof(int16_t);
    found->across.in_step *= (int32_t)sizeof(int16_t);
    found->across.out_step *= (int32_t)sizeof(int16_t);
}

static EF_OUT_OF_LINE void fill(ef_phase_planes *p, const int16_t *in)
{
    ef_windows_fill(p, (const int8_t *)in, ef_plane_fill_s16);
}

void ef_depthwise_s16_dsp(const ef_conv2d_s16_args *a, const int16_t *in, int16_t *out,
                          void *scratch)
{
    const uint32_t taps = (uint32_t)a->kernel_h * a->kernel_w;
    const uint32_t per_input = (uint32_t)a->out_c / a->in_c;
    const int8_t *weights = (const int8_t *)a->weights;
    ef_phase_planes p;
    ef_plane_windows run;
    uint32_t oc = 0;

    directions(a, &p.d);
    p.padding = 0;
    p.planes = (int8_t *)scratch;
    ef_windows_begin(&p, &run);
    for (uint32_t c = 0; c < a->in_c; c++) {
        fill(&p, in + c);
        for (uint32_t end = oc + per_input; oc != end; oc++) {
            ef_windows_pair(&p, weights, 1);
            weights += taps;
            run.channel.multiplier = a->multiplier[oc];
            run.channel.shift = a->shift[oc] - 16;
            run.channel.offset = 1 << (run.channel.shift - 1);
            run.channel.bias = a->bias[oc];
            ef_windows_convolve(&p, &run, (int8_t *)(out + oc), ef_plane_windows_s16_run);
        }
    }
    ef_clamp_row_s16(out, (uint32_t)a->out_h * a->out_w * a->out_c, a->clamp_min, a->clamp_max);
}

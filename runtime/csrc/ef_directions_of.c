#include "ef_depthwise_planes.h"

void ef_directions_of(const ef_conv2d_args *a, ef_directions *found)
{
    const ef_direction rows = {a->in_h,     a->out_h,    a->in_w * a->in_c, a->out_w * a->out_c,
                               a->kernel_h, a->stride_h, a->dilation_h,     a->pad_top,
                               a->kernel_w};
    const ef_direction columns = {a->in_w,     a->out_w,    a->in_c,       a->out_c, a->kernel_w,
                                  a->stride_w, a->dilation_w, a->pad_left, 1};
    found->along = a->out_h > a->out_w ? rows : columns;
    found->across = a->out_h > a->out_w ? columns : rows;
}

#include "ef_depthwise_planes.h"

static int32_t between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

ef_plane_source ef_plane_source_of(const ef_directions *d, int32_t padding, int32_t lines,
                                   int32_t words, int32_t line_step, int32_t word_step)
{
    const ef_direction *along = &d->along;
    const ef_direction *across = &d->across;
    const int32_t elements = between(2 * words - along->pad, 0, along->in);
    const int32_t odd = elements != 0 ? along->pad % 2 : 0;
    const ef_plane_source source = {along->pad / 2 * word_step + across->pad * line_step,
                                    (uint32_t)between(lines - across->pad, 0, across->in),
                                    (uint32_t)odd,
                                    (uint32_t)(elements - odd) / 2,
                                    (uint32_t)(elements - odd) % 2,
                                    padding,
                                    along->in_step,
                                    across->in_step,
                                    word_step,
                                    line_step};
    return source;
}

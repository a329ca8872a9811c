/* What the depthwise kernels for cores with SMLAD share: how a channel lies in its plane.
 *
 * Lines run along the longer side of the output, so "along" and "across" stand for either of width
 * and height.
 */
#ifndef EF_DEPTHWISE_PLANES_H
#define EF_DEPTHWISE_PLANES_H

#include "ef_channel.h"
#include "ef_conv2d.h"
#include "ef_plane.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One of the two directions of a map. */
typedef struct ef_direction {
    int32_t in, out; /* elements of the map, of the output */
    int32_t in_step; /* bytes from one element of a channel to the next */
    int32_t out_step;
    int32_t kernel, stride, dilation, pad;
    int32_t weight_step; /* from one weight to the next */
} ef_direction;

typedef struct ef_directions {
    ef_direction along, across;
} ef_directions;

void ef_directions_of(const ef_conv2d_args *a, ef_directions *found);

/* Elements of the padded plane that the outputs touch. */
static inline int32_t ef_reach(const ef_direction *d)
{
    return (d->out - 1) * d->stride + (d->kernel - 1) * d->dilation + 1;
}

/* How the map lies in a plane of `lines` x `words`. Elements that no output touches are left out. */
ef_plane_source ef_plane_source_of(const ef_directions *d, int32_t padding, int32_t lines,
                                   int32_t words, int32_t line_step, int32_t word_step);

/* The weights of one output channel: where they lie, or decoded to `tile`. */
static inline const int8_t *ef_depthwise_weights(const ef_weights *weights, uint32_t first,
                                                 uint32_t taps, int8_t *tile)
{
    if (weights->decoder == NULL) {
        return (const int8_t *)weights->data + first;
    }
    weights->decoder->decode(weights, NULL, first, taps, tile);
    return tile;
}

/* How the sums of one output channel are requantized. */
static inline ef_plane_channel ef_plane_channel_of(const ef_conv2d_args *a, uint32_t oc)
{
    const ef_channel table = ef_channel_of(a, oc);
    ef_plane_channel channel;
    channel.multiplier = table.multiplier;
    channel.shift = -table.shift;
    channel.offset = (2 * a->out_zero_point + 1) * (1 << (channel.shift - 1));
    channel.bias = 2 * table.bias;
    return channel;
}

#ifdef __cplusplus
}
#endif

#endif

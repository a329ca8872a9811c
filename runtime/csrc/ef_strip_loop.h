/* The inner loop over a strip of gathered inputs, and what belongs to it: the convolution kernels for
 * cores with SMLAD are the same for weights in o8 words and in digits but for this. */
#ifndef EF_STRIP_LOOP_H
#define EF_STRIP_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include "ef_o8.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EF_STRIP_OFFSETS 4u /* for a pair of pixels */

typedef struct ef_strip_loop {
    void (*begin_block)(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                        ef_o8_block *block);
    void (*run)(const ef_o8_block *block, const uint32_t *weights, const uint32_t *strip,
                int8_t *out);
    /* Fills the block's offsets for a strip. NULL: there are none. */
    void (*offsets)(const ef_o8_block *block, const ef_weights *weights, const uint32_t *strip,
                    int32_t *offsets);
    uint32_t codes; /* of weights in a word */
} ef_strip_loop;

/* ef_conv2d_s8_dsp by that loop: strips of output pixels whose receptive fields are gathered one
 * after the other. */
void ef_convolve_strips(const ef_strip_loop *loop, const ef_conv2d_args *a, const int8_t *in,
                        int8_t *out, void *scratch);

/* ef_conv2d_s8_rows_dsp by that loop: runs of output pixels of a row, which share their inputs. */
void ef_convolve_rows(const ef_strip_loop *loop, const ef_conv2d_args *a, const int8_t *in,
                      int8_t *out, void *scratch);

#ifdef __cplusplus
}
#endif

#endif

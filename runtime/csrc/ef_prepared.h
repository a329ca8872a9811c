/* Weights that were decoded at start-up into memory of the caller, and kernels that run on them.
 *
 * The memory begins with a mark that is there once everything was decoded, so that a network which
 * runs before, or on memory that was overwritten from its start, notices. */
#ifndef EF_PREPARED_H
#define EF_PREPARED_H

#include "ef_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void ef_conv2d_kernel(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                              void *scratch);

static inline void ef_set_mark(void *weights, uint32_t mark)
{
    *(uint32_t *)weights = mark;
}

static inline int ef_has_mark(const void *weights, uint32_t mark)
{
    return *(const uint32_t *)weights == mark;
}

/* Runs `kernel` with the weights at `data`, 4-aligned, in place of those that `a` points to. */
void ef_conv2d_prepared(ef_conv2d_kernel *kernel, const ef_conv2d_args *a, const void *data,
                        const int8_t *in, int8_t *out, void *scratch);

#ifdef __cplusplus
}
#endif

#endif

#ifndef EF_INSIDE_H
#define EF_INSIDE_H

#include <stdint.h>

/* The taps of an output position that lie inside the map, along one axis. */
typedef struct ef_inside {
    int32_t first, end; /* of the kernel */
    int32_t start;      /* position of tap 0 in the map */
} ef_inside;

static inline ef_inside ef_inside_of(int32_t start, int32_t dilation, int32_t kernel, int32_t size)
{
    ef_inside result;
    result.start = start;
    result.first = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int32_t reach = size <= start ? 0 : (size - start + dilation - 1) / dilation;
    result.end = reach < kernel ? reach : kernel;
    return result;
}

#endif

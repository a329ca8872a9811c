#include "ef_prepared.h"

void ef_conv2d_prepared(ef_conv2d_kernel *kernel, const ef_conv2d_args *a, const void *data,
                        const int8_t *in, int8_t *out, void *scratch)
{
    ef_conv2d_args args = *a;
    args.weights.data = data;
    kernel(&args, in, out, scratch);
}

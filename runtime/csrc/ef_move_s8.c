#include "ef_move.h"

#include <string.h>

/* The two inner axes. Single bytes do not pay for a call of memmove each. */
static void move_plane(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t in_step = a->in_step[4];
    const uint32_t out_step = a->out_step[4];
    for (uint32_t i = 0; i < a->count[3]; i++) {
        const int8_t *source = in + i * a->in_step[3];
        int8_t *target = out + i * a->out_step[3];
        if (a->block == 1) {
            for (uint32_t left = a->count[4]; left != 0; left--) {
                *target = *source;
                source += in_step;
                target += out_step;
            }
        } else {
            for (uint32_t left = a->count[4]; left != 0; left--) {
                memmove(target, source, a->block);
                source += in_step;
                target += out_step;
            }
        }
    }
}

void ef_move_s8(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    in += a->in_start;
    out += a->out_start;
    for (uint32_t i = 0; i < a->count[0]; i++) {
        for (uint32_t j = 0; j < a->count[1]; j++) {
            for (uint32_t k = 0; k < a->count[2]; k++) {
                move_plane(a, in + i * a->in_step[0] + j * a->in_step[1] + k * a->in_step[2],
                           out + i * a->out_step[0] + j * a->out_step[1] + k * a->out_step[2]);
            }
        }
    }
}

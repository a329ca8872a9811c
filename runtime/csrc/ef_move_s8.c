#include "ef_move.h"

#include <string.h>

#include "ef_word4.h"

/* From so many bytes on a call of memmove is faster than a loop. */
#define LONG_BLOCK 32u

/* Bytes may alias anything, so what loops need of the arguments is kept in locals. */
static void move_bytes(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t block = a->block;
    const int32_t in_step = (int32_t)(a->in_step[4] - block);
    const int32_t out_step = (int32_t)(a->out_step[4] - block);
    for (uint32_t i = a->count[4]; i != 0; i--) {
        for (const int8_t *end = in + block; in != end;) {
            *out++ = *in++;
        }
        in += in_step;
        out += out_step;
    }
}

static void move_words(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t block = a->block;
    const int32_t in_step = (int32_t)(a->in_step[4] - block);
    const int32_t out_step = (int32_t)(a->out_step[4] - block);
    for (uint32_t i = a->count[4]; i != 0; i--) {
        for (const int8_t *end = in + block; in != end;) {
            ef_word4_store(out, ef_word4_load(in));
            in += 4;
            out += 4;
        }
        in += in_step;
        out += out_step;
    }
}

static void move_single(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    const uint32_t in_step = a->in_step[4];
    const uint32_t out_step = a->out_step[4];
    for (uint32_t i = a->count[4]; i != 0; i--) {
        *out = *in;
        in += in_step;
        out += out_step;
    }
}

static void move_long(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    for (uint32_t i = a->count[4]; i != 0; i--) {
        memmove(out, in, a->block);
        in += a->in_step[4];
        out += a->out_step[4];
    }
}

static void move_row(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    const uintptr_t ends = (uintptr_t)in | (uintptr_t)out;
    if (a->block == 1) {
        move_single(a, in, out);
    } else if (a->block >= LONG_BLOCK) {
        move_long(a, in, out);
    } else if (((ends | a->block | a->in_step[4] | a->out_step[4]) & 3u) == 0u) {
        move_words(a, in, out);
    } else {
        move_bytes(a, in, out);
    }
}

void ef_move_s8(const ef_move_args *a, const int8_t *in, int8_t *out)
{
    in += a->in_start;
    out += a->out_start;
    for (uint32_t i = 0; i < a->count[0]; i++) {
        for (uint32_t j = 0; j < a->count[1]; j++) {
            for (uint32_t k = 0; k < a->count[2]; k++) {
                const int8_t *source =
                    in + i * a->in_step[0] + j * a->in_step[1] + k * a->in_step[2];
                int8_t *target =
                    out + i * a->out_step[0] + j * a->out_step[1] + k * a->out_step[2];
                for (uint32_t l = 0; l < a->count[3]; l++) {
                    move_row(a, source, target);
                    source += a->in_step[3];
                    target += a->out_step[3];
                }
            }
        }
    }
}

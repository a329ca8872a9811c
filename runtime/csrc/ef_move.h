/* Operators that only move bytes: transpose, slice, concatenation, padding, nearest resize. Each is
 * one or more strided copies, worked out by the exporter (export/ops/parts/moves.py).
 */
#ifndef EF_MOVE_H
#define EF_MOVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EF_MOVE_AXES 5

/* for i in 0..count: copy `block` bytes from in[in_start + sum i * in_step]
 *                                      to out[out_start + sum i * out_step].
 * The last axis runs fastest. Steps may be 0 on the input side. */
typedef struct ef_move_args {
    uint32_t in_start, out_start;
    uint32_t block;
    uint32_t count[EF_MOVE_AXES]; /* 1 or more */
    uint32_t in_step[EF_MOVE_AXES];
    uint32_t out_step[EF_MOVE_AXES];
} ef_move_args;

/* `in` and `out` may be the same memory if no byte is written before it is read: every address
 * written is at or below the one read, and both only grow. */
void ef_move_s8(const ef_move_args *a, const int8_t *in, int8_t *out);

/* Plain twin. */
void ef_move_s8_ref(const ef_move_args *a, const int8_t *in, int8_t *out);

typedef struct ef_fill_args {
    uint32_t bytes;
    int8_t value;
} ef_fill_args;

/* Sets out[0..bytes). */
void ef_fill_s8(const ef_fill_args *a, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

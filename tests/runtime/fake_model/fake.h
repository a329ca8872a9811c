/* A model of two steps with the interface of a generated one. */
#ifndef FAKE_H
#define FAKE_H

#include <stdint.h>

#define FAKE_ARENA_BYTES 48
#define FAKE_ARENA_ALIGN 16

#ifdef __cplusplus
extern "C" {
#endif

int fake_run(void *arena, const int8_t *in0, int8_t *out0);

#ifdef __cplusplus
}
#endif

#endif

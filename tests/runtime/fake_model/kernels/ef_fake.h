/* Two operations small enough to compute by hand in the tests. */
#ifndef EF_FAKE_H
#define EF_FAKE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void ef_fake_scale(const int8_t *weights, uint32_t count, const int8_t *in, int8_t *out);
void ef_fake_reverse(uint32_t count, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

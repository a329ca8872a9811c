/* Any function of one int8 code, as a table. `out` may be `in`. */
#ifndef EF_LOOKUP_H
#define EF_LOOKUP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_lookup_args {
    int32_t count;
    const int8_t *table; /* 256 results, for the codes 0 to 127 and then -128 to -1 */
} ef_lookup_args;

void ef_lookup_s8(const ef_lookup_args *a, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

/* Any function of int16 codes by knots with straight lines between;
 * export/functions/interpolation16.py has the definition. */
#ifndef EF_TABLE_S16_H
#define EF_TABLE_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_table_s16_args {
    uint32_t count;
    const int16_t *table; /* [513]: the results of the codes -2^15, -2^15 + 128, ..., 2^15 */
} ef_table_s16_args;

/* `out` may be `in`. */
void ef_table_s16(const ef_table_s16_args *a, const int16_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

/* Softmax of int16 rows; export/functions/wide_softmax.py has the definition. */
#ifndef EF_SOFTMAX_S16_H
#define EF_SOFTMAX_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_softmax_s16_args {
    uint32_t rows;
    uint32_t depth;         /* at most 2^15 */
    const uint16_t *coarse; /* [coarse_entries]: exp(-256 i * scale) at 1/65535 */
    const uint16_t *fine;   /* [256]: exp(-i * scale) at 2^-14 */
    uint32_t coarse_entries; /* beyond these there are zeros */
} ef_softmax_s16_args;

/* Output at 1/32768. `out` may be `in`. */
void ef_softmax_s16(const ef_softmax_s16_args *a, const int16_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

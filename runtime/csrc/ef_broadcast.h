/* Two operands of an elementwise kernel, broadcast against each other.
 *
 * Four nested loops, the innermost last. Steps and the innermost size count bytes, so that the
 * loops serve elements of any width; a step of 0 repeats an element, an innermost step is 0 or one
 * element. An operand that is constant lies in constant1 or constant2 and the
 * pointer that the kernel gets for it is not used. */
#ifndef EF_BROADCAST_H
#define EF_BROADCAST_H

#include <stddef.h>
#include <stdint.h>

#include "ef_attributes.h"

typedef struct ef_broadcast {
    int32_t sizes[4];
    int32_t steps1[4];
    int32_t steps2[4];
    const int8_t *constant1; /* NULL: the first operand is passed in */
    const int8_t *constant2;
} ef_broadcast;

/* One run of the innermost loop, `count` bytes of result; define it EF_OUT_OF_LINE, so that it has the registers. */
typedef void (*ef_broadcast_row)(const void *args, const int8_t *in1, int32_t step1,
                                 const int8_t *in2, int32_t step2, int8_t *out, int32_t count);

static inline void ef_broadcast_rows(const ef_broadcast *b, const int8_t *in1, const int8_t *in2,
                                     int8_t *out, ef_broadcast_row row, const void *args)
{
    const int8_t *first0 = b->constant1 != NULL ? b->constant1 : in1;
    const int8_t *second0 = b->constant2 != NULL ? b->constant2 : in2;
    for (int32_t i = 0; i < b->sizes[0]; i++) {
        const int8_t *first1 = first0;
        const int8_t *second1 = second0;
        for (int32_t j = 0; j < b->sizes[1]; j++) {
            const int8_t *first2 = first1;
            const int8_t *second2 = second1;
            for (int32_t k = 0; k < b->sizes[2]; k++) {
                row(args, first2, b->steps1[3], second2, b->steps2[3], out, b->sizes[3]);
                out += b->sizes[3];
                first2 += b->steps1[2];
                second2 += b->steps2[2];
            }
            first1 += b->steps1[1];
            second1 += b->steps2[1];
        }
        first0 += b->steps1[0];
        second0 += b->steps2[0];
    }
}

#endif

/* Elements of one tensor or of another, as a third says; all broadcast against each other. `out`
 * may be an operand of its own size.
 *
 * Four nested loops, the innermost last. Steps count elements; a step of 0 repeats an element. An
 * operand that is constant lies in its constant and the pointer passed for it is not used. */
#ifndef EF_SELECT_H
#define EF_SELECT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_select_args {
    int32_t sizes[4];
    int32_t condition_steps[4];
    int32_t steps1[4];
    int32_t steps2[4];
    const int8_t *condition; /* NULL: it is passed in */
    const void *constant1; /* of the type of in1 and in2 */
    const void *constant2;
} ef_select_args;

/* Where the condition is not 0, in1, elsewhere in2. */
void ef_select_s8(const ef_select_args *a, const int8_t *condition, const int8_t *in1,
                  const int8_t *in2, int8_t *out);

/* On int16; the condition stays int8, so `out` may not be the condition. */
void ef_select_s16(const ef_select_args *a, const int8_t *condition, const int16_t *in1,
                   const int16_t *in2, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif

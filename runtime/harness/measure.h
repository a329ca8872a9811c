/* What can be measured only on the device: memory that was touched, and instructions. */
#ifndef EF_MEASURE_H
#define EF_MEASURE_H

#include <stdint.h>

/* A piece of work to measure; returns 0 on success. */
typedef int (*measured_fn)(uint32_t argument);

/* Stops the processor in its tracks where the real part would: see measure_arm.c. */
void measure_start(void);

/* Counts ticks of the board's timer. ticks_restart sets it to 0; ticks_now costs a constant
 * number of instructions; ticks_wrapped is nonzero when more than 32 bits have passed. */
void ticks_restart(void);
uint32_t ticks_now(void);
uint32_t ticks_wrapped(void);

/* Ticks from before to after one call of `work`, the reading of the timer included. */
uint32_t ticks_of(measured_fn work, uint32_t argument, int *status);

/* Executes 2 * rounds instructions, and a constant number around them. */
int loop_of_known_length(uint32_t rounds);

/* Executes nothing but the return. */
int nothing(uint32_t argument);

/* Bytes of stack that `work` needs below its caller, or UINT32_MAX when it used all there is. */
uint32_t stack_of(measured_fn work, uint32_t argument, int *status);

#endif

/* The smallest program that holds the model. Flash is measured on this image.
 *
 * A real application writes its sensor data to the model's input, which lies inside the arena
 * (see the model's header for the address), calls the model, and reads the output in place. */
#include <stdint.h>

#include "model_glue.h"

/* Not static: its name tells the memory report which part of .bss the arena is. */
extern uint8_t ef_firmware_arena[];
uint8_t ef_firmware_arena[MODEL_ARENA_BYTES] __attribute__((aligned(16)));

#if defined(MODEL_WEIGHTS_BYTES)
extern uint8_t ef_firmware_weights[];
uint8_t ef_firmware_weights[MODEL_WEIGHTS_BYTES] __attribute__((aligned(16)));

int main(void)
{
    const int failed = model_prepare(ef_firmware_weights);
    return failed != 0 ? failed : model_run_in_place(ef_firmware_arena, ef_firmware_weights);
}
#else
int main(void)
{
    return model_run_in_place(ef_firmware_arena);
}
#endif

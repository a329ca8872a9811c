/* Check harness: runs a model over the samples of a file and writes what the checker asked for.
 *
 * It knows the model only by model_glue.h. Both files are little-endian. Input: six words
 * {magic, version, mode, samples, input bytes a sample, 0}, then the samples. Output: six words
 * {magic, version, mode, samples, output bytes, trace steps}, then by mode:
 *   OUTPUTS  the outputs of every sample
 *   TRACE    every traced tensor of every sample, in the order of the steps (needs EF_TRACE)
 *   MEMORY   {arena bytes, first byte touched, end of the touched bytes, stack bytes}
 *   COUNT    calibration, then {ticks, wrapped} for every sample
 *   STEPS    calibration, then for every sample {wrapped, ticks at the start, at each step}
 *   START_UP calibration, then for every sample {ticks, wrapped, stack bytes} of decoding weights
 * Calibration: ticks of {nothing, loop of 1,000, loop of 101,000 rounds, two trace hooks}.
 * The file ends with the magic word, so that a truncated one is noticed. */
#include <stdint.h>
#include <string.h>

#include "check_io.h"
#include "model_glue.h"
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define EF_ON_DEVICE 1
#endif
#if defined(EF_ON_DEVICE)
#include "measure.h"
#endif

#define MAGIC 0x4B434645U /* "EFCK" */
#define VERSION 1U

enum { OUTPUTS = 0, TRACE = 1, MEMORY = 2, COUNT = 3, STEPS = 4, START_UP = 5 };
enum { BAD_FILES = 10, BAD_HEADER = 11, SHORT_INPUT = 12, SHORT_OUTPUT = 13, NO_SUCH_MODE = 14 };
enum { MODEL_FAILED = 20, GUARD_BROKEN = 21, WEIGHTS_DAMAGED = 22 };

/* The address sanitizer surrounds each object with memory that nobody may read or write: there
 * the arena stands alone. Elsewhere guard bytes on both sides show stray writes. */
#if defined(__SANITIZE_ADDRESS__)
#define GUARD_BYTES 0U
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARD_BYTES 0U
#endif
#endif
#ifndef GUARD_BYTES
#define GUARD_BYTES 64U
#endif
#define GUARD_PAINT 0x3DU

static uint8_t memory[MODEL_ARENA_BYTES + 2U * GUARD_BYTES] __attribute__((aligned(16)));
static int8_t inputs[MODEL_INPUT_BYTES];
static int8_t outputs[MODEL_OUTPUT_BYTES];

static void stop(int code, const char *reason)
{
    check_say(reason);
    check_exit(code);
}

static void put(const void *from, uint32_t bytes)
{
    if (check_write(from, bytes) != 0) {
        stop(SHORT_OUTPUT, "cannot write the output file\n");
    }
}

#if defined(MODEL_WEIGHTS_BYTES)
/* Decoded once, before the first sample, and read only from then on. */
static uint8_t weights[MODEL_WEIGHTS_BYTES + 2U * GUARD_BYTES] __attribute__((aligned(16)));
#define RUN(arena) model_run(arena, &weights[GUARD_BYTES], inputs, outputs)

static int decode(uint32_t argument)
{
    (void)argument;
    return model_prepare(&weights[GUARD_BYTES]);
}
#else
#define RUN(arena) model_run(arena, inputs, outputs)
#endif

static int run(uint32_t argument)
{
    (void)argument;
    return RUN(&memory[GUARD_BYTES]);
}

static void prepare(uint8_t paint)
{
    memset(memory, (int)GUARD_PAINT, sizeof memory);
    /* Painted anew for every sample: a model that reads what it has not written shows as a
     * difference instead of finding the last sample's values there. */
    memset(&memory[GUARD_BYTES], (int)paint, MODEL_ARENA_BYTES);
    memset(outputs, (int)paint, sizeof outputs);
}

static void verify(int status)
{
    if (status != 0) {
        stop(MODEL_FAILED, "the model returned an error\n");
    }
    for (uint32_t i = 0; i < GUARD_BYTES; ++i) {
        if (memory[i] != GUARD_PAINT || memory[GUARD_BYTES + MODEL_ARENA_BYTES + i] != GUARD_PAINT) {
            stop(GUARD_BROKEN, "the model wrote outside its arena\n");
        }
    }
#if defined(MODEL_WEIGHTS_BYTES)
    for (uint32_t i = 0; i < GUARD_BYTES; ++i) {
        if (weights[i] != GUARD_PAINT || weights[GUARD_BYTES + MODEL_WEIGHTS_BYTES + i] != GUARD_PAINT) {
            stop(GUARD_BROKEN, "the model wrote outside its weights\n");
        }
    }
#endif
}

static uint8_t paint_of(uint32_t sample)
{
    return (sample & 1U) != 0U ? 0x5AU : 0xA5U;
}

#if defined(EF_TRACE)
void ef_trace(uint32_t step, const void *data, uint32_t bytes);

static uint32_t tracing;
#if defined(EF_ON_DEVICE)
static uint32_t counting;
static uint32_t ticks_at[MODEL_STEPS];
#endif

__attribute__((noinline)) void ef_trace(uint32_t step, const void *data, uint32_t bytes)
{
#if defined(EF_ON_DEVICE)
    if (counting != 0U) {
        ticks_at[step] = ticks_now();
        return;
    }
#endif
    (void)step;
    if (tracing != 0U) {
        put(data, bytes);
    }
}
#endif

#if defined(EF_ON_DEVICE)
static void measure_memory(void)
{
    /* Twice with different paint: a byte is untouched only if it kept both. */
    uint32_t first = MODEL_ARENA_BYTES;
    uint32_t end = 0U;
    uint32_t stack = 0U;
    for (uint32_t pass = 0; pass < 2U; ++pass) {
        int status = 0;
        prepare(paint_of(pass));
        const uint32_t used = stack_of(run, 0U, &status);
        verify(status);
        stack = used > stack ? used : stack;
        for (uint32_t i = 0; i < MODEL_ARENA_BYTES; ++i) {
            if (memory[GUARD_BYTES + i] != paint_of(pass)) {
                first = i < first ? i : first;
                end = i + 1U > end ? i + 1U : end;
            }
        }
    }
    const uint32_t record[4] = {MODEL_ARENA_BYTES, first, end, stack};
    put(record, sizeof record);
}

static uint32_t two_hooks(void)
{
#if defined(EF_TRACE)
    /* Two calls straight after each other: the ticks between them are the hook's own cost. */
    register uintptr_t hook __asm("r4") = (uintptr_t)&ef_trace;
    counting = 1U;
    ticks_restart();
    __asm volatile("movs r0, #0\n\tblx %0\n\tmovs r0, #1\n\tblx %0"
                   : "+r"(hook)
                   :
                   : "r0", "r1", "r2", "r3", "r12", "lr", "cc", "memory");
    counting = 0U;
    return ticks_at[1] - ticks_at[0];
#else
    return 0U;
#endif
}

static void calibrate(void)
{
    int status = 0;
    uint32_t record[4];
    record[0] = ticks_of(nothing, 0U, &status);
    record[1] = ticks_of(loop_of_known_length, 1000U, &status);
    record[2] = ticks_of(loop_of_known_length, 101000U, &status);
    record[3] = two_hooks();
    put(record, sizeof record);
}

static void count_sample(void)
{
    int status = 0;
    uint32_t record[2];
    record[0] = ticks_of(run, 0U, &status);
    record[1] = ticks_wrapped();
    verify(status);
    put(record, sizeof record);
}

static void count_start_up(void)
{
#if defined(MODEL_WEIGHTS_BYTES)
    int status = 0;
    uint32_t record[3];
    record[0] = ticks_of(decode, 0U, &status);
    record[1] = ticks_wrapped();
    record[2] = stack_of(decode, 0U, &status);
    put(record, sizeof record);
#else
    const uint32_t record[3] = {0U, 0U, 0U};
    put(record, sizeof record);
#endif
}

static void count_steps(void)
{
#if defined(EF_TRACE)
    counting = 1U;
    ticks_restart();
    const uint32_t start = ticks_now();
    const int status = run(0U);
    const uint32_t record[2] = {ticks_wrapped(), start};
    counting = 0U;
    verify(status);
    put(record, sizeof record);
    put(ticks_at, sizeof ticks_at);
#endif
}
#endif

static void serve(uint32_t mode, uint32_t sample)
{
    prepare(paint_of(sample));
#if defined(EF_ON_DEVICE)
    if (mode == COUNT) {
        count_sample();
        return;
    }
    if (mode == STEPS) {
        count_steps();
        return;
    }
    if (mode == START_UP) {
        count_start_up();
        return;
    }
#endif
#if defined(EF_TRACE)
    tracing = mode == TRACE;
#endif
    verify(run(0U));
    if (mode == OUTPUTS) {
        put(outputs, sizeof outputs);
    }
}

static int offers(uint32_t mode)
{
#if defined(EF_ON_DEVICE)
    if (mode == MEMORY || mode == COUNT || mode == START_UP) {
        return 1;
    }
#if defined(EF_TRACE)
    if (mode == STEPS) {
        return 1;
    }
#endif
#endif
#if defined(EF_TRACE)
    if (mode == TRACE) {
        return 1;
    }
#endif
    return mode == OUTPUTS;
}

int main(void)
{
    uint32_t header[6];
    const uint32_t magic = MAGIC;
    if (check_open() != 0) {
        stop(BAD_FILES, "cannot open " CHECK_INPUT_FILE " or " CHECK_OUTPUT_FILE "\n");
    }
    if (check_read(header, sizeof header) != 0 || header[0] != MAGIC || header[1] != VERSION ||
        header[4] != (uint32_t)MODEL_INPUT_BYTES) {
        stop(BAD_HEADER, "the input file is not for this model and harness\n");
    }
    const uint32_t mode = header[2];
    const uint32_t samples = header[3];
    if (offers(mode) == 0) {
        stop(NO_SUCH_MODE, "this build of the harness does not offer the mode\n");
    }
    header[4] = MODEL_OUTPUT_BYTES;
    header[5] = MODEL_STEPS;
    put(header, sizeof header);
#if defined(EF_ON_DEVICE)
    measure_start();
    if (mode == COUNT || mode == STEPS || mode == START_UP) {
        calibrate();
    }
#endif
#if defined(MODEL_WEIGHTS_BYTES)
    memset(weights, (int)GUARD_PAINT, sizeof weights);
    if (decode(0U) != 0) {
        stop(WEIGHTS_DAMAGED, "the model's weights in flash are damaged\n");
    }
#endif
    for (uint32_t sample = 0; sample < samples; ++sample) {
        if (check_read(inputs, sizeof inputs) != 0) {
            stop(SHORT_INPUT, "the input file ends too early\n");
        }
#if defined(EF_ON_DEVICE)
        if (mode == MEMORY) {
            measure_memory();
            continue;
        }
#endif
        serve(mode, sample);
    }
    put(&magic, sizeof magic);
    check_exit(0);
    return 0;
}

/* Files of the check harness on an Arm device, by semihosting: the emulator or the debug probe
 * carries the calls out on the computer it is connected to.
 * Specification: Arm, "Semihosting for AArch32 and AArch64". */
#include <stddef.h>

#include "check_io.h"

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_EXIT_EXTENDED = 0x20
};
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5 };
#define APPLICATION_EXIT 0x20026U

static uint32_t input_file;
static uint32_t output_file;

static uint32_t call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t open_file(const char *name, size_t length, uint32_t mode)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, (uint32_t)length};
    return call(SYS_OPEN, block);
}

int check_open(void)
{
    input_file = open_file(CHECK_INPUT_FILE, sizeof CHECK_INPUT_FILE - 1U, MODE_READ_BINARY);
    output_file = open_file(CHECK_OUTPUT_FILE, sizeof CHECK_OUTPUT_FILE - 1U, MODE_WRITE_BINARY);
    return input_file == UINT32_MAX || output_file == UINT32_MAX;
}

/* SYS_READ and SYS_WRITE return how many bytes were not moved. */
static int transfer(uint32_t operation, uint32_t file, const void *data, uint32_t bytes)
{
    const uint32_t block[3] = {file, (uint32_t)(uintptr_t)data, bytes};
    return call(operation, block) != 0U;
}

int check_read(void *to, uint32_t bytes)
{
    return transfer(SYS_READ, input_file, to, bytes);
}

int check_write(const void *from, uint32_t bytes)
{
    return transfer(SYS_WRITE, output_file, from, bytes);
}

void check_say(const char *line)
{
    (void)call(SYS_WRITE0, line);
}

void check_exit(int code)
{
    const uint32_t block[2] = {APPLICATION_EXIT, (uint32_t)code};
    (void)call(SYS_CLOSE, &input_file);
    (void)call(SYS_CLOSE, &output_file);
#if defined(EF_END_OF_TRANSMISSION)
    /* pyOCD does not know the exit calls; it ends at this character. */
    (void)call(SYS_WRITE0, "\004");
#endif
    for (;;) {
        (void)call(SYS_EXIT_EXTENDED, block);
    }
}

/* The few calls by which the check harness reaches files: by stdio on a computer, by semihosting
 * on an Arm device or emulator. One input and one output file, in the working directory. */
#ifndef EF_CHECK_IO_H
#define EF_CHECK_IO_H

#include <stdint.h>

#define CHECK_INPUT_FILE "check_input.bin"
#define CHECK_OUTPUT_FILE "check_output.bin"

/* Opens both files. Returns 0, or nonzero when one of them cannot be opened. */
int check_open(void);

/* Reads or writes exactly `bytes` bytes. Returns 0, or nonzero when not all could be moved. */
int check_read(void *to, uint32_t bytes);
int check_write(const void *from, uint32_t bytes);

/* Prints a line for the user. */
void check_say(const char *line);

/* Closes the files and ends the program with this exit code. Does not return. */
void check_exit(int code);

#endif

/* Files of the check harness on a computer. */
#include <stdio.h>
#include <stdlib.h>

#include "check_io.h"

static FILE *input_file;
static FILE *output_file;

int check_open(void)
{
    input_file = fopen(CHECK_INPUT_FILE, "rb");
    output_file = fopen(CHECK_OUTPUT_FILE, "wb");
    return input_file == NULL || output_file == NULL;
}

int check_read(void *to, uint32_t bytes)
{
    return fread(to, 1, bytes, input_file) != bytes;
}

int check_write(const void *from, uint32_t bytes)
{
    return fwrite(from, 1, bytes, output_file) != bytes;
}

void check_say(const char *line)
{
    (void)fputs(line, stderr);
}

void check_exit(int code)
{
    if (input_file != NULL) {
        (void)fclose(input_file);
    }
    /* A full disk shows at the latest when the last block is flushed. */
    if (output_file != NULL && fclose(output_file) != 0 && code == 0) {
        code = 13;
    }
    exit(code);
}

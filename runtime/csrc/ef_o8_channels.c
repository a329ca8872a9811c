#include "ef_channel.h"
#include "ef_o8.h"
#include "ef_simd.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_args_layout_is_known[offsetof(ef_conv2d_args, bias) == 16 &&
                                             offsetof(ef_conv2d_args, multiplier) == 20 &&
                                             offsetof(ef_conv2d_args, shift) == 24 &&
                                             offsetof(ef_conv2d_args, out_zero_point) == 70 &&
                                             offsetof(ef_conv2d_args, packed) == 74 &&
                                             offsetof(ef_o8_block, channel) == 16
                                         ? 1
                                         : -1];

/* r0 channels of the block, r1 first channel, then 1, r2 end of the starts, r3 starts, r4-r6 bias,
 * multiplier, shift, r7 half and zero point, r8 packed less 1, r9 multiplier, r10-r11 at work, lr the
 * shift less 1. */
static EF_NAKED void read_channels(EF_UNUSED const ef_conv2d_args *a, EF_UNUSED uint32_t first,
                                   EF_UNUSED uint32_t count, EF_UNUSED ef_o8_block *block)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_o8_channel again\n"
        "str r10, [r3], #4\n"
        "lsl r10, r7, lr\n"
        "add r11, lr, #1\n"
        "stm r0!, {r9-r11}\n"
        "cmp r3, r2\n"
        "bne \\again\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "ldrd r4, r5, [r0, #16]\n"
        "ldr r6, [r0, #24]\n"
        "ldrsh r7, [r0, #70]\n"
        "ldrb r8, [r0, #74]\n"
        "add r5, r5, r1, lsl #2\n"
        "add r6, r6, r1\n"
        "lsls r7, r7, #1\n"
        "adds r7, r7, #1\n"
        "add r0, r3, #16\n"
        "add r2, r3, r2, lsl #2\n"
        "subs r8, r8, #1\n"
        "bpl 2f\n"
        "add r4, r4, r1, lsl #2\n"
        "1:\n"
        "ldrsb lr, [r6], #1\n"
        "ldr r9, [r5], #4\n"
        "ldr r10, [r4], #4\n"
        "mvn lr, lr\n"
        "lsl r10, r10, #1\n"
        "ef_o8_channel 1b\n"
        "pop {r4-r11, pc}\n"
        "2:\n"
        "add r4, r4, r1, lsl #1\n"
        "movs r1, #1\n"
        "3:\n"
        "ldr r9, [r5], #4\n"
        "ldrh r10, [r4], #2\n"
        "ldrsb r11, [r6], #1\n"
        "add lr, r8, r9, lsr #30\n"
        "orr r10, r10, r11, lsl #16\n"
        "bfi r9, r1, #30, #2\n"
        "and r11, r10, #1\n"
        "sub r10, r10, r11\n"
        "add lr, lr, r11, lsl #2\n"
        "ef_o8_channel 3b\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_o8_channel\n");
}

#else

static void read_channels(const ef_conv2d_args *a, uint32_t first, uint32_t count,
                          ef_o8_block *block)
{
    const ef_channels tables = ef_channels_of(a);
    const uint32_t half_and_zero_point = (uint32_t)(2 * a->out_zero_point + 1);
    for (uint32_t c = 0; c < count; c++) {
        const ef_channel table = ef_channel_at(&tables, first + c);
        const uint32_t right = (uint32_t)-table.shift;
        block->channel[c].multiplier = table.multiplier;
        block->channel[c].offset = (int32_t)(half_and_zero_point << (right - 1));
        block->channel[c].shift = (int32_t)right;
        block->start[c] = 2 * table.bias;
    }
}

#endif

void ef_o8_begin_channels(const ef_conv2d_args *a, uint32_t first_channel, uint32_t count,
                          ef_o8_block *block)
{
    read_channels(a, first_channel, count, block);
    /* channels that only fill up the block repeat its first one */
    for (uint32_t c = count; c < EF_O8_CHANNELS; c++) {
        block->channel[c] = block->channel[0];
        block->start[c] = block->start[0];
    }
}

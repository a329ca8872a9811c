#include "ef_dense_dsp.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_dense_layout_is_known[offsetof(ef_dense_outputs, out) == 16 &&
                                              offsetof(ef_dense_outputs, step) == 20 &&
                                              offsetof(ef_dense_outputs, half_and_zero_point) == 28
                                          ? 1
                                          : -1];

/* r1 sums, r2 end of the outputs, r3-r5 bias, multiplier, shift, r6 packed, r7 out, r8 step,
 * r9 extra, r10 half and zero point; r0 the shift less 1, r11 the doubled sum, r12 the multiplier,
 * lr at work. Stack: outputs. */
EF_NAKED void ef_dense_finish(EF_UNUSED ef_dense_outputs *outputs, EF_UNUSED const int32_t *sums,
                              EF_UNUSED uint32_t count)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_dense_finish_channel again\n"
        "ldr lr, [r1], #4\n"
        "add r11, r11, r9\n"
        "mla r11, lr, r8, r11\n"
        "lsl lr, r10, r0\n"
        "smmlar lr, r11, r12, lr\n"
        "add r11, lr, r11, asr #31\n"
        "asr r11, r11, r0\n"
        "ssat r11, #8, r11, asr #1\n"
        "strb r11, [r7], #1\n"
        "cmp r7, r2\n"
        "bne \\again\n"
        ".endm\n"
        "push {r0, r4-r11, lr}\n"
        "ldm r0, {r3-r10}\n"
        "add r2, r2, r7\n"
        "subs r6, r6, #1\n"
        "bpl 2f\n"
        "1:\n"
        "ldrsb r0, [r5], #1\n"
        "ldr r12, [r4], #4\n"
        "ldr r11, [r3], #4\n"
        "mvns r0, r0\n"
        "lsl r11, r11, #1\n"
        "ef_dense_finish_channel 1b\n"
        "b 3f\n"
        "2:\n"
        "ldr r12, [r4], #4\n"
        "ldrh r11, [r3], #2\n"
        "ldrsb lr, [r5], #1\n"
        "add r0, r6, r12, lsr #30\n"
        "orr r11, r11, lr, lsl #16\n"
        "bic r12, r12, #0xC0000000\n"
        "and lr, r11, #1\n"
        "orr r12, r12, #0x40000000\n"
        "add r0, r0, lr, lsl #2\n"
        "sub r11, r11, lr\n"
        "ef_dense_finish_channel 2b\n"
        "3:\n"
        "pop {r0}\n"
        "stm r0, {r3-r5}\n"
        "str r7, [r0, #16]\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_dense_finish_channel\n");
}

#else

void ef_dense_finish(ef_dense_outputs *outputs, const int32_t *sums, uint32_t count)
{
    ef_channels *tables = &outputs->tables;
    for (uint32_t i = 0; i < count; i++) {
        const ef_channel c = ef_channel_at(tables, i);
        const int32_t doubled = sums[i] * outputs->step + outputs->extra + 2 * c.bias;
        const uint32_t right = (uint32_t)-c.shift;
        const int32_t offset = (int32_t)((uint32_t)outputs->half_and_zero_point << (right - 1));
        outputs->out[i] =
            (int8_t)ef_requantize_doubled(doubled, c.multiplier, offset, (int32_t)right);
    }
    if (tables->packed != 0) {
        tables->bias = (const uint16_t *)tables->bias + count;
    } else {
        tables->bias = (const int32_t *)tables->bias + count;
    }
    tables->multiplier += count;
    tables->shift += count;
    outputs->out += count;
}

#endif

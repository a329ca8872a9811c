#include "ef_plane.h"
#include "ef_simd.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_plane_layout_is_known[offsetof(ef_plane_3x3, channel) == 24 &&
                                              offsetof(ef_plane_3x3, column_step) == 44 &&
                                              offsetof(ef_plane_3x3, pairs_bytes) == 48 &&
                                              offsetof(ef_plane_3x3, singles_bytes) == 52 &&
                                              offsetof(ef_plane_3x3, lines) == 56 &&
                                              offsetof(ef_plane_3x3, plane_step) == 60 &&
                                              offsetof(ef_plane_3x3, line_step) == 64
                                          ? 1
                                          : -1];

/* r0 plane, r1 out, r2-r7 weights, r8-r10 words of three lines, then how to requantize, r11-r12 two
 * outputs, lr anything. Stack: 0 multiplier, 4 offset, 8 shift, 12 bias, 16 out step, 20 column
 * step, 24 end of this line's pairs, 28 plane, 32 out, 36 lines left, 40 run. */
EF_NAKED void ef_plane_3x3_run(EF_UNUSED const ef_plane_3x3 *run,
                               EF_UNUSED const uint32_t *plane, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_plane_next\n"
        "ldr lr, [sp, #20]\n"
        "add r0, r0, lr\n"
        "ldm r0, {r8, r9, r10}\n"
        "smlabt r11, r8, r3, r11\n"
        "smlabt r11, r9, r5, r11\n"
        "smlabt r11, r10, r7, r11\n"
        ".endm\n"
        ".macro ef_plane_scale x\n"
        "smmlar lr, \\x, r8, r9\n"
        "add \\x, lr, \\x, asr #31\n"
        "asr \\x, \\x, r10\n"
        "ssat \\x, #8, \\x\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #44\n"
        "strd r1, r2, [sp, #28]\n"
        "str r0, [sp, #40]\n"
        "add r1, r0, #24\n"
        "ldm r1, {r2-r10}\n"
        "stm sp, {r2-r7}\n"
        "str r10, [sp, #36]\n"
        "ldm r0, {r2-r7}\n"
        "1:\n"
        "ldrd r0, r1, [sp, #28]\n"
        "ldr lr, [sp, #40]\n"
        "ldr lr, [lr, #48]\n"
        "cmp lr, #0\n"
        "beq 3f\n"
        "add lr, lr, r0\n"
        "str lr, [sp, #24]\n"
        /* the first output starts at the low halves of r8-r10, the second at the high halves */
        "2:\n"
        "ldm r0, {r8, r9, r10}\n"
        "ldr lr, [sp, #12]\n"
        "smlad r11, r8, r2, lr\n"
        "smlatb r12, r8, r2, lr\n"
        "smlad r11, r9, r4, r11\n"
        "smlatb r12, r9, r4, r12\n"
        "smlad r11, r10, r6, r11\n"
        "smlatb r12, r10, r6, r12\n"
        "ef_plane_next\n"
        "smlad r12, r8, r3, r12\n"
        "smlad r12, r9, r5, r12\n"
        "smlad r12, r10, r7, r12\n"
        "ldm sp, {r8, r9, r10}\n"
        "ef_plane_scale r11\n"
        "ef_plane_scale r12\n"
        "ldr lr, [sp, #16]\n"
        "strb r11, [r1]\n"
        "strb r12, [r1, lr]\n"
        "add r1, r1, lr, lsl #1\n"
        "ldr lr, [sp, #24]\n"
        "cmp r0, lr\n"
        "bne 2b\n"
        "3:\n"
        "ldr r12, [sp, #40]\n"
        "ldr r12, [r12, #52]\n"
        "cmp r12, #0\n"
        "beq 5f\n"
        "add r12, r12, r0\n"
        "4:\n"
        "ldm r0, {r8, r9, r10}\n"
        "ldr r11, [sp, #12]\n"
        "smlad r11, r8, r2, r11\n"
        "smlad r11, r9, r4, r11\n"
        "smlad r11, r10, r6, r11\n"
        "ef_plane_next\n"
        "ldm sp, {r8, r9, r10}\n"
        "ef_plane_scale r11\n"
        "ldr lr, [sp, #16]\n"
        "strb r11, [r1]\n"
        "add r1, r1, lr\n"
        "cmp r0, r12\n"
        "bne 4b\n"
        "5:\n"
        "ldr lr, [sp, #40]\n"
        "ldrd r8, r9, [lr, #60]\n"
        "ldrd r0, r1, [sp, #28]\n"
        "add r0, r0, r8\n"
        "add r1, r1, r9\n"
        "ldr lr, [sp, #36]\n"
        "strd r0, r1, [sp, #28]\n"
        "subs lr, lr, #1\n"
        "str lr, [sp, #36]\n"
        "bne 1b\n"
        "add sp, sp, #44\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_plane_next\n"
        ".purgem ef_plane_scale\n");
}

#else

void ef_plane_3x3_run(const ef_plane_3x3 *run, const uint32_t *plane, int8_t *out)
{
    const uint32_t *w = run->weights;
    const uint32_t column = (uint32_t)run->column_step / 4;
    const uint32_t pairs = run->pairs_bytes / (4 * column);
    const uint32_t singles = run->singles_bytes / (4 * column);
    for (uint32_t line = 0; line < run->lines; line++) {
        const uint32_t *x = plane + line * ((uint32_t)run->plane_step / 4);
        int8_t *target = out;
        for (uint32_t i = 0; i < pairs + singles; i++) {
            int32_t first = run->channel.bias;
            int32_t second = run->channel.bias;
            for (uint32_t k = 0; k < 3; k++) {
                const uint32_t next = x[column + k];
                first = ef_smlad(x[k], w[2 * k], first) + ef_low(next) * ef_high(w[2 * k + 1]);
                second = ef_smlad(next, w[2 * k + 1], second) + ef_high(x[k]) * ef_low(w[2 * k]);
            }
            *target = ef_plane_requantize(&run->channel, first);
            target += run->out_step;
            if (i < pairs) {
                *target = ef_plane_requantize(&run->channel, second);
                target += run->out_step;
            }
            x += column;
        }
        out += run->line_step;
    }
}

#endif

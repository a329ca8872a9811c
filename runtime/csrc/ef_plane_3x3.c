#include "ef_plane.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 plane, r1 out, r2-r7 weights, r8-r10 words of three lines, r11-r12 two outputs, lr anything.
 * Stack: 0 bias, 4 multiplier, 8 offset, 12 shift, 16 out step, 20 column step, 24 pairs left,
 * 28 plane, 32 out, 36 lines left, 40 channel. */
EF_NAKED void ef_plane_3x3_run(EF_UNUSED const ef_plane_3x3 *channel,
                               EF_UNUSED const uint32_t *plane, EF_UNUSED int8_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        /* the first output starts at the low half of r8-r10, the second at the high half */
        ".macro ef_plane_first\n"
        "ldr r11, [sp]\n"
        "smlad r11, r8, r2, r11\n"
        "smlad r11, r9, r4, r11\n"
        "smlad r11, r10, r6, r11\n"
        ".endm\n"
        ".macro ef_plane_second\n"
        "ldr r12, [sp]\n"
        "smlatb r12, r8, r2, r12\n"
        "smlatb r12, r9, r4, r12\n"
        "smlatb r12, r10, r6, r12\n"
        ".endm\n"
        ".macro ef_plane_next\n"
        "ldr lr, [sp, #20]\n"
        "add r0, r0, lr\n"
        "ldm r0, {r8, r9, r10}\n"
        "smlabt r11, r8, r3, r11\n"
        "smlabt r11, r9, r5, r11\n"
        "smlabt r11, r10, r7, r11\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #44\n"
        "strd r1, r2, [sp, #28]\n"
        "str r0, [sp, #40]\n"
        "add r1, r0, #24\n"
        "ldm r1, {r4-r7}\n"
        "stm sp, {r4-r7}\n"
        "ldr r4, [r0, #52]\n"
        "ldr r5, [r0, #60]\n"
        "strd r4, r5, [sp, #16]\n"
        "ldr r4, [r0, #48]\n"
        "str r4, [sp, #36]\n"
        "ldm r0, {r2-r7}\n"
        "1:\n"
        "ldr lr, [sp, #40]\n"
        "ldr lr, [lr, #40]\n"
        "str lr, [sp, #24]\n"
        "ldrd r0, r1, [sp, #28]\n"
        "ldm r0, {r8, r9, r10}\n"
        "cmp lr, #0\n"
        "beq 3f\n"
        "2:\n"
        "ef_plane_first\n"
        "ef_plane_second\n"
        "ef_plane_next\n"
        "smlad r12, r8, r3, r12\n"
        "smlad r12, r9, r5, r12\n"
        "smlad r12, r10, r7, r12\n"
        "ldr lr, [sp, #4]\n"
        "smmulr r11, r11, lr\n"
        "smmulr r12, r12, lr\n"
        "ldr lr, [sp, #8]\n"
        "add r11, r11, r11, asr #31\n"
        "add r12, r12, r12, asr #31\n"
        "add r11, r11, lr\n"
        "add r12, r12, lr\n"
        "ldr lr, [sp, #12]\n"
        "asr r11, r11, lr\n"
        "asr r12, r12, lr\n"
        "ldr lr, [sp, #16]\n"
        "ssat r11, #8, r11\n"
        "ssat r12, #8, r12\n"
        "strb r11, [r1]\n"
        "strb r12, [r1, lr]\n"
        "add r1, r1, lr, lsl #1\n"
        "ldr lr, [sp, #24]\n"
        "subs lr, lr, #1\n"
        "str lr, [sp, #24]\n"
        "bne 2b\n"
        "3:\n"
        "ldr lr, [sp, #40]\n"
        "ldr lr, [lr, #44]\n"
        "cmp lr, #0\n"
        "beq 5f\n"
        "4:\n"
        "str lr, [sp, #24]\n"
        "ef_plane_first\n"
        "ef_plane_next\n"
        "ldr lr, [sp, #4]\n"
        "smmulr r11, r11, lr\n"
        "ldr lr, [sp, #8]\n"
        "add r11, r11, r11, asr #31\n"
        "add r11, r11, lr\n"
        "ldr lr, [sp, #12]\n"
        "asr r11, r11, lr\n"
        "ssat r11, #8, r11\n"
        "ldr lr, [sp, #16]\n"
        "strb r11, [r1]\n"
        "add r1, r1, lr\n"
        "ldr lr, [sp, #24]\n"
        "subs lr, lr, #1\n"
        "bne 4b\n"
        "5:\n"
        "ldr lr, [sp, #40]\n"
        "ldr r8, [lr, #64]\n"
        "ldr lr, [lr, #56]\n"
        "ldrd r0, r1, [sp, #28]\n"
        "add r0, r0, r8\n"
        "add r1, r1, lr\n"
        "strd r0, r1, [sp, #28]\n"
        "ldr lr, [sp, #36]\n"
        "subs lr, lr, #1\n"
        "str lr, [sp, #36]\n"
        "bne 1b\n"
        "add sp, sp, #44\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_plane_first\n"
        ".purgem ef_plane_second\n"
        ".purgem ef_plane_next\n");
}

#else

void ef_plane_3x3_run(const ef_plane_3x3 *channel, const uint32_t *plane, int8_t *out)
{
    const uint32_t *w = channel->weights;
    const uint32_t column = (uint32_t)channel->column_step / 4;
    for (uint32_t line = 0; line < channel->lines; line++) {
        const uint32_t *x = plane + line * ((uint32_t)channel->plane_step / 4);
        int8_t *target = out;
        for (uint32_t i = 0; i < channel->pairs + channel->singles; i++) {
            int32_t first = channel->bias;
            int32_t second = channel->bias;
            for (uint32_t k = 0; k < 3; k++) {
                const uint32_t next = x[column + k];
                first = ef_smlad(x[k], w[2 * k], first) + ef_low(next) * ef_high(w[2 * k + 1]);
                second = ef_smlad(next, w[2 * k + 1], second) + ef_high(x[k]) * ef_low(w[2 * k]);
            }
            *target = (int8_t)ef_requantize_doubled(first, channel->multiplier, channel->offset,
                                                    channel->shift);
            target += channel->out_step;
            if (i < channel->pairs) {
                *target = (int8_t)ef_requantize_doubled(second, channel->multiplier,
                                                        channel->offset, channel->shift);
                target += channel->out_step;
            }
            x += column;
        }
        out += channel->line_step;
    }
}

#endif

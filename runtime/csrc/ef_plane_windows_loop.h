/* The body of ef_plane_windows_run and ef_plane_windows_s16_run. Define
 * EF_WINDOWS_FINISH, the assembler that takes sums in r2 and r3 with multiplier, offset and shift in
 * r4-r6 to outputs at r8 and, r7 bytes on, after it, and EF_WINDOWS_STORE(channel, out, sum), the same
 * in C for one output, before including this; without them it is empty. */
#ifdef EF_WINDOWS_FINISH

#include "ef_plane_windows.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_windows_layout_is_known[offsetof(ef_plane_windows, weights) == 16 &&
                                                offsetof(ef_plane_windows, pairs_bytes) == 32 &&
                                                offsetof(ef_plane_windows, plane_step) == 44 &&
                                                offsetof(ef_plane_windows, out_step) == 52
                                            ? 1
                                            : -1];

/* Strides of 1 and 2, 2 to 4 words. `form` is 3 * (stride - 1) + words - 2; there is a loop for each,
 * which goes over the lines of the kernel, in 64 bytes.
 *
 * r0 inputs, r1 weights, r2-r3 two outputs, r4-r12 inputs, weights and, if it is free, in r12 the end
 * of the weights, lr kernel step. Stack: 0 multiplier, 4 offset, 8 shift, 12 bias, 16 weights,
 * 20 inputs, 24 out, 28 out step, 32 end of the weights, 36 pair step, 40 end of the inputs,
 * 44 loop, 48 odd, 52 run, 56 plane, 60 line of out, 64 lines left. */
EF_NAKED static void run_known(EF_UNUSED const ef_plane_windows *run,
                               EF_UNUSED const int8_t *plane, EF_UNUSED int8_t *out,
                               EF_UNUSED uint32_t form)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_windows_products x, first, second\n"
        "smlad r2, \\x, \\first, r2\n"
        "smlad r3, \\x, \\second, r3\n"
        ".endm\n"
        ".macro ef_windows_shifted first, second, w\n"
        "smlad r2, \\first, \\w, r2\n"
        "smlad r3, \\second, \\w, r3\n"
        ".endm\n"
        ".macro ef_windows_loop end\n"
        "add r0, r0, lr\n"
        "cmp r1, \\end\n"
        "bne 2b\n"
        "b 3f\n"
        ".balign 64\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #68\n"
        "adr r4, 2f\n"
        "add r4, r4, r3, lsl #6\n"
        "add r4, r4, #1\n"
        "str r4, [sp, #44]\n"
        "strd r0, r1, [sp, #52]\n"
        "str r2, [sp, #60]\n"
        "ldm r0!, {r4-r9}\n"
        "stm sp, {r4-r8}\n"
        "str r9, [sp, #32]\n"
        "ldm r0, {r4-r8}\n"
        "str r5, [sp, #36]\n"
        "str r8, [sp, #64]\n"
        "mov lr, r4\n"
        "0:\n" /* a line of outputs */
        "ldr r4, [sp, #52]\n"
        "ldrd r0, r1, [sp, #56]\n"
        "ldrd r6, r7, [r4, #32]\n"
        "ldr r2, [r4, #52]\n"
        "strd r0, r1, [sp, #20]\n"
        "str r2, [sp, #28]\n"
        "add r6, r6, r0\n"
        "str r6, [sp, #40]\n"
        "str r7, [sp, #48]\n"
        "cmp r6, r0\n"
        "beq 4f\n"
        "1:\n" /* a pair */
        "ldrd r2, r1, [sp, #12]\n"
        "ldr r0, [sp, #20]\n"
        "ldr r12, [sp, #32]\n"
        "mov r3, r2\n"
        "ldr pc, [sp, #44]\n"
        ".balign 64\n"
        "2:\n" /* stride 1 */
        "ldm.w r0, {r4, r5}\n"
        "ldm.w r1!, {r6-r9}\n"
        "ef_windows_products r4, r6, r7\n"
        "ef_windows_products r5, r8, r9\n"
        "ef_windows_loop r12\n"
        "2:\n"
        "ldm.w r0, {r4, r5, r6}\n"
        "ldm.w r1!, {r7-r12}\n"
        "ef_windows_products r4, r7, r8\n"
        "ldr r4, [sp, #32]\n"
        "ef_windows_products r5, r9, r10\n"
        "ef_windows_products r6, r11, r12\n"
        "ef_windows_loop r4\n"
        "2:\n"
        "ldm.w r0, {r4-r7}\n"
        "ldm.w r1!, {r8-r11}\n"
        "ef_windows_products r4, r8, r9\n"
        "ef_windows_products r5, r10, r11\n"
        "ldm.w r1!, {r8-r11}\n"
        "ef_windows_products r6, r8, r9\n"
        "ef_windows_products r7, r10, r11\n"
        "ef_windows_loop r12\n"
        "2:\n" /* stride 2 */
        "ldm.w r0, {r4, r5, r6}\n"
        "ldm.w r1!, {r7, r8}\n"
        "ef_windows_shifted r4, r5, r7\n"
        "ef_windows_shifted r5, r6, r8\n"
        "ef_windows_loop r12\n"
        "2:\n"
        "ldm.w r0, {r4-r7}\n"
        "ldm.w r1!, {r8, r9, r10}\n"
        "ef_windows_shifted r4, r5, r8\n"
        "ef_windows_shifted r5, r6, r9\n"
        "ef_windows_shifted r6, r7, r10\n"
        "ef_windows_loop r12\n"
        "2:\n"
        "ldm.w r0, {r4-r8}\n"
        "ldm.w r1!, {r9-r12}\n"
        "ef_windows_shifted r4, r5, r9\n"
        "ldr r4, [sp, #32]\n"
        "ef_windows_shifted r5, r6, r10\n"
        "ef_windows_shifted r6, r7, r11\n"
        "ef_windows_shifted r7, r8, r12\n"
        "ef_windows_loop r4\n"
        "3:\n"
        "ldm sp, {r4, r5, r6}\n"
        "ldrd r8, r7, [sp, #24]\n"
        EF_WINDOWS_FINISH
        "ldr r0, [sp, #20]\n"
        "ldrd r4, r5, [sp, #36]\n"
        "add r8, r8, r7, lsl #1\n"
        "add r0, r0, r4\n"
        "strd r0, r8, [sp, #20]\n"
        "cmp r0, r5\n"
        "bne 1b\n"
        "4:\n"
        "ldr r6, [sp, #48]\n"
        "cbz r6, 5f\n"
        "mov r6, #0\n"
        "str r6, [sp, #28]\n"
        "str r6, [sp, #48]\n"
        "ldrd r4, r5, [sp, #36]\n"
        "add r5, r5, r4\n"
        "str r5, [sp, #40]\n"
        "b 1b\n"
        "5:\n"
        "ldr r4, [sp, #52]\n"
        "ldrd r6, r7, [r4, #44]\n"
        "ldrd r0, r1, [sp, #56]\n"
        "ldr r2, [sp, #64]\n"
        "add r0, r0, r6\n"
        "add r1, r1, r7\n"
        "strd r0, r1, [sp, #56]\n"
        "subs r2, r2, #1\n"
        "str r2, [sp, #64]\n"
        "bne 0b\n"
        "add sp, sp, #68\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_windows_products\n"
        ".purgem ef_windows_shifted\n"
        ".purgem ef_windows_loop\n");
}

#endif

/* One or two outputs of any kernel; for one, `apart` and `out_step` are 0. */
static void run_pair(const ef_plane_windows *run, const int8_t *x, int32_t apart, int8_t *out,
                     int32_t out_step)
{
    const int32_t second_weight = run->stride == 1 ? 1 : 0;
    const int32_t line_step = run->kernel_step - 4 * run->words;
    const uint32_t *w = run->weights;
    const uint32_t *end = run->weights_end;
    int32_t first = run->channel.bias;
    int32_t second = run->channel.bias;
    do {
        int32_t words = run->words;
        do {
            first = ef_smlad(ef_load_word(x), w[0], first);
            second = ef_smlad(ef_load_word(x + apart), w[second_weight], second);
            w += 1 + second_weight;
            x += 4;
        } while (--words != 0);
        x += line_step;
    } while (w != end);
    EF_WINDOWS_STORE(&run->channel, out + out_step, second);
    EF_WINDOWS_STORE(&run->channel, out, first);
}

static void run_any(const ef_plane_windows *run, const int8_t *plane, int8_t *out)
{
    const int32_t apart = run->stride == 1 ? 0 : 2 * run->stride;
    for (int32_t lines = run->lines; lines != 0; lines--) {
        const int8_t *x = plane;
        int8_t *target = out;
        for (const int8_t *end = plane + run->pairs_bytes; x != end; x += run->pair_step) {
            run_pair(run, x, apart, target, run->out_step);
            target += 2 * run->out_step;
        }
        if (run->odd) {
            run_pair(run, x, 0, target, 0);
        }
        plane += run->plane_step;
        out += run->line_step;
    }
}

static inline void run_windows(const ef_plane_windows *run, const int8_t *plane, int8_t *out)
{
#if EF_HAS_DSP
    if (run->stride <= 2 && run->words >= 2 && run->words <= EF_PLANE_WORDS) {
        run_known(run, plane, out, 3 * (uint32_t)(run->stride - 1) + (uint32_t)run->words - 2);
        return;
    }
#endif
    run_any(run, plane, out);
}

#endif

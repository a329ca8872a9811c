#include "ef_wide_finish.h"

#if EF_HAS_DSP

/* r0 strip, r1 weights, r2-r4 sums of the first pixel (64 bits, 32 bits), r5-r7 of the second, r8-r9
 * weights, r10-r12 and lr inputs. Stack: 0 end of the pair's weights, 4 bytes of a pair's weights,
 * 8 where the loop is entered, 12 strip, 16 channels, 20 out, 24 pairs left, 28 pitch. The loop is 4
 * steps of 48 bytes; it is entered in the middle when the steps are no multiple of 4. */
EF_NAKED void ef_wide_two_pixels(EF_UNUSED const ef_wide_block *block,
                                 EF_UNUSED const uint32_t *strip, EF_UNUSED int16_t *out)
{
    __asm__ volatile(
        ".syntax unified\n" EF_WIDE_FINISH
        ".macro ef_wide_two_step\n"
        "ldrd r8, r9, [r1], #8\n"
        "ldm.w r0!, {r10, r11, r12, lr}\n"
        "smlald r2, r3, r8, r10\n"
        "smlald r5, r6, r8, r11\n"
        "smlald r2, r3, r9, r12\n"
        "smlald r5, r6, r9, lr\n"
        "sxtb16 r8, r8\n"
        "sxtb16 r9, r9\n"
        "smlad r4, r8, r10, r4\n"
        "smlad r7, r8, r11, r7\n"
        "smlad r4, r9, r12, r4\n"
        "smlad r7, r9, lr, r7\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #36\n"
        "ldm r0, {r3-r7}\n" /* weights, channels, steps, pairs, pitch */
        "str r1, [sp, #12]\n"
        "strd r4, r2, [sp, #16]\n"
        "strd r6, r7, [sp, #24]\n"
        "mov r1, r3\n"
        "lsl r8, r5, #3\n"
        "add r9, r1, r8\n"
        "strd r9, r8, [sp]\n"
        "rsb r5, r5, #0\n"
        "and r5, r5, #3\n"
        "add r5, r5, r5, lsl #1\n"
        "adr r8, 2f\n"
        "add r8, r8, r5, lsl #4\n"
        "add r8, r8, #1\n"
        "str r8, [sp, #8]\n"
        "1:\n"
        "ldr r0, [sp, #12]\n"
        "movs r2, #0\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "ldr pc, [sp, #8]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ef_wide_two_step\n"
        ".endr\n"
        "ldr r8, [sp]\n"
        "cmp r1, r8\n"
        "bne 2b\n"
        "ldr r9, [sp, #4]\n"
        "ldr r0, [sp, #16]\n"
        "add r8, r8, r9\n"
        "str r8, [sp]\n"
        "ldm r0!, {r8-r11}\n"
        "str r0, [sp, #16]\n"
        "lsr r12, r11, #8\n"
        "ef_wide_finish r2, r3, r4\n"
        "ef_wide_finish r5, r6, r7\n"
        "ldrd r8, r9, [sp, #20]\n"
        "ldr r10, [sp, #28]\n"
        "str r5, [r8, r10]\n"
        "str r2, [r8], #4\n"
        "subs r9, r9, #1\n"
        "strd r8, r9, [sp, #20]\n"
        "bne 1b\n"
        "add sp, sp, #36\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_wide_two_step\n"
        ".purgem ef_wide_finish\n");
}

#else

void ef_wide_two_pixels(const ef_wide_block *block, const uint32_t *strip, int16_t *out)
{
    for (uint32_t pair = 0; pair < block->pairs; pair++) {
        const uint32_t *weights = block->weights + 2 * pair * block->steps;
        int8_t *to = (int8_t *)(out + 2 * pair);
        for (uint32_t pixel = 0; pixel < 2; pixel++) {
            ef_store_word(to, ef_wide_pixel(block->channels + pair, weights, strip + pixel, 2,
                                            block->steps));
            to += block->pitch;
        }
    }
}

#endif

#include "ef_wide_finish.h"

#if EF_HAS_DSP

/* r0 strip, r1 weights, r2-r4 sums (64 bits, 32 bits), r5-r8 weights, r9-r12 inputs, lr end of the
 * pair's weights. Stack: 0 bytes of a pair's weights, 4 where a pair begins, 8 where the loop is
 * entered, 12 strip, 16 channels, 20 out, 24 pairs left. The loop takes two steps at a time, twice:
 * an odd step comes before it, and it is entered in the middle when the rest asks for that. */
EF_NAKED void ef_wide_one_pixel(EF_UNUSED const ef_wide_block *block,
                                EF_UNUSED const uint32_t *strip, EF_UNUSED int16_t *out)
{
    __asm__ volatile(
        ".syntax unified\n" EF_WIDE_FINISH
        ".macro ef_wide_one_double\n"
        "ldm.w r1!, {r5-r8}\n"
        "ldm.w r0!, {r9-r12}\n"
        "smlald r2, r3, r5, r9\n"
        "smlald r2, r3, r6, r10\n"
        "smlald r2, r3, r7, r11\n"
        "smlald r2, r3, r8, r12\n"
        "sxtb16 r5, r5\n"
        "sxtb16 r6, r6\n"
        "sxtb16 r7, r7\n"
        "sxtb16 r8, r8\n"
        "smlad r4, r5, r9, r4\n"
        "smlad r4, r6, r10, r4\n"
        "smlad r4, r7, r11, r4\n"
        "smlad r4, r8, r12, r4\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #28\n"
        "ldm r0, {r3-r6}\n" /* weights, channels, steps, pairs */
        "str r1, [sp, #12]\n"
        "strd r4, r2, [sp, #16]\n"
        "str r6, [sp, #24]\n"
        "mov r1, r3\n"
        "lsl r7, r5, #3\n"
        "str r7, [sp]\n"
        "add lr, r1, r7\n"
        "adr r8, 3f\n"
        "lsls r9, r5, #31\n" /* N: the steps are odd */
        "and r5, r5, #2\n"
        "rsb r5, r5, r5, lsl #3\n" /* 14 for an odd number of double steps */
        "add r8, r8, r5, lsl #2\n"
        "add r8, r8, #1\n"
        "str r8, [sp, #8]\n"
        "bpl 0f\n"
        "adr r8, 2f\n"
        "add r8, r8, #1\n"
        "0:\n"
        "str r8, [sp, #4]\n"
        "1:\n"
        "ldr r0, [sp, #12]\n"
        "movs r2, #0\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "ldr pc, [sp, #4]\n"
        ".balign 4\n"
        "2:\n"
        "ldrd r5, r6, [r1], #8\n"
        "ldrd r9, r10, [r0], #8\n"
        "smlald r2, r3, r5, r9\n"
        "smlald r2, r3, r6, r10\n"
        "sxtb16 r5, r5\n"
        "sxtb16 r6, r6\n"
        "smlad r4, r5, r9, r4\n"
        "smlad r4, r6, r10, r4\n"
        "cmp r1, lr\n"
        "beq 4f\n"
        "ldr pc, [sp, #8]\n"
        ".balign 4\n"
        "3:\n"
        "ef_wide_one_double\n"
        "ef_wide_one_double\n"
        "cmp r1, lr\n"
        "bne 3b\n"
        "4:\n"
        "ldr r5, [sp]\n"
        "ldr r0, [sp, #16]\n"
        "add lr, lr, r5\n"
        "ldm r0!, {r8-r11}\n"
        "str r0, [sp, #16]\n"
        "lsr r12, r11, #8\n"
        "ef_wide_finish r2, r3, r4\n"
        "ldrd r8, r9, [sp, #20]\n"
        "str r2, [r8], #4\n"
        "subs r9, r9, #1\n"
        "strd r8, r9, [sp, #20]\n"
        "bne 1b\n"
        "add sp, sp, #28\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_wide_one_double\n"
        ".purgem ef_wide_finish\n");
}

#else

void ef_wide_one_pixel(const ef_wide_block *block, const uint32_t *strip, int16_t *out)
{
    for (uint32_t pair = 0; pair < block->pairs; pair++) {
        const uint32_t *weights = block->weights + 2 * pair * block->steps;
        ef_store_word(out + 2 * pair,
                      ef_wide_pixel(block->channels + pair, weights, strip, 1, block->steps));
    }
}

#endif

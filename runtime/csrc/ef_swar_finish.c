#include <stddef.h>

#include "ef_swar.h"

int32_t ef_swar_requantize(int32_t acc, int32_t multiplier, int32_t shift)
{
    return ef_requantize(acc, multiplier, shift);
}

#if EF_HAS_ARMV6M

typedef char ef_swar_layout_is_known[offsetof(ef_swar_block, shift) == 8 &&
                                     offsetof(ef_swar_block, channels) == 12 &&
                                     offsetof(ef_swar_block, zero_point) == 16 &&
                                     offsetof(ef_swar_block, low) == 20 &&
                                     offsetof(ef_swar_block, pixel) == 28 &&
                                     sizeof(ef_swar_block) == 52
                                         ? 1
                                         : -1];

/* With e = -shift, the exact product is a whole number P, and the result (P + 2^(e-1)) >> e but for
 * ties. Two multiplications by the multiplier's upper 16 bits give an estimate of P that is too
 * small by at most 1 + |acc| / 2^16, that is 3 + 2^(e-7) for results within 512; what lies beyond
 * saturates either way. With 2^(e-5) on top, e >= 7, the estimate's bits below the result show
 * whether rounding could go the other way: then, and where e < 7, the exact function decides. That
 * is once in 16 times.
 *
 * r0 block, r1 4 * channel, r2 bias, r3 free, r4 the multiplier's upper half, r5 rounding and zero
 * point, r6 e - 4, r7 sum; r8 low, r9 high, r10 zero point, r11 end of r1. Stack: outputs of the
 * two pixels. */
__attribute__((naked)) void ef_swar_finish(__attribute__((unused)) const ef_swar_block *block)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_swar_acc pixel\n"
        "ldr r3, [r0, #36 + 12 * \\pixel]\n"
        "ldr r7, [r3, r1]\n"
        "ldr r3, [r0, #32 + 12 * \\pixel]\n"
        "subs r7, r7, r3\n"
        "adds r7, r7, r2\n"
        ".endm\n"
        ".macro ef_swar_pixel pixel\n"
        "ef_swar_acc \\pixel\n"
        "uxth r3, r7\n"
        "asrs r7, r7, #16\n"
        "muls r3, r4, r3\n"
        "muls r7, r4, r7\n"
        "lsrs r3, r3, #16\n"
        "adds r7, r7, r3\n"
        "adds r7, r7, r5\n"
        "asrs r7, r7, r6\n"
        "lsls r3, r7, #28\n"
        "beq 3f\n"
        "asrs r7, r7, #4\n"
        "1:\n"
        "cmp r7, r8\n"
        "blt 4f\n"
        "cmp r7, r9\n"
        "bgt 5f\n"
        "2:\n"
        "ldr r3, [sp, #4 * \\pixel]\n"
        "strb r7, [r3]\n"
        "adds r3, r3, #1\n"
        "str r3, [sp, #4 * \\pixel]\n"
        "b 6f\n"
        "3:\n"
        "ef_swar_acc \\pixel\n"
        "push {r0-r3}\n"
        "ldr r2, [r0, #8]\n"
        "lsrs r3, r1, #2\n"
        "ldrsb r2, [r2, r3]\n"
        "ldr r3, [r0, #4]\n"
        "ldr r1, [r3, r1]\n"
        "mov r0, r7\n"
        "bl ef_swar_requantize\n"
        "add r0, r10\n"
        "mov r7, r0\n"
        "pop {r0-r3}\n"
        "b 1b\n"
        "4:\n"
        "mov r7, r8\n"
        "b 2b\n"
        "5:\n"
        "mov r7, r9\n"
        "b 2b\n"
        "6:\n"
        ".endm\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r4-r7}\n"
        "ldr r4, [r0, #28]\n"
        "ldr r5, [r0, #40]\n"
        "push {r4, r5, r6}\n"
        "ldr r1, [r0, #12]\n"
        "lsls r1, r1, #2\n"
        "mov r11, r1\n"
        "ldr r1, [r0, #16]\n"
        "mov r10, r1\n"
        "ldr r1, [r0, #20]\n"
        "mov r8, r1\n"
        "ldr r1, [r0, #24]\n"
        "mov r9, r1\n"
        "movs r1, #0\n"
        "10:\n"
        "ldr r3, [r0, #8]\n"
        "lsrs r2, r1, #2\n"
        "ldrsb r6, [r3, r2]\n"
        "negs r6, r6\n"
        "mov r5, r10\n"
        "lsls r5, r6\n"
        "subs r6, r6, #5\n"
        "movs r3, #17\n"
        "lsls r3, r6\n"
        "adds r5, r5, r3\n"
        "ldr r3, [r0, #4]\n"
        "ldr r4, [r3, r1]\n"
        "asrs r4, r4, #15\n"
        "adds r6, r6, #1\n"
        "cmp r6, #3\n"
        "bge 11f\n"
        "movs r4, #0\n" /* looks like doubt */
        "movs r5, #0\n"
        "11:\n"
        "ldr r2, [r0]\n"
        "ldr r2, [r2, r1]\n"
        "ef_swar_pixel 0\n"
        "ldr r3, [sp, #4]\n"
        "cmp r3, #0\n"
        "beq 12f\n"
        "ef_swar_pixel 1\n"
        "12:\n"
        "adds r1, r1, #4\n"
        "cmp r1, r11\n"
        "bne 10b\n"
        "add sp, sp, #12\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_swar_acc\n"
        ".purgem ef_swar_pixel\n");
}

#else

void ef_swar_finish(const ef_swar_block *block)
{
    for (uint32_t p = 0; p < 2 && block->pixel[p].out != NULL; p++) {
        for (uint32_t c = 0; c < block->channels; c++) {
            const int32_t sum =
                (int32_t)(block->pixel[p].sums[c] - block->pixel[p].offset) + block->bias[c];
            const int32_t scaled =
                ef_swar_requantize(sum, block->multiplier[c], block->shift[c]);
            block->pixel[p].out[c] =
                ef_clamp_s8(scaled + block->zero_point, block->low, block->high);
        }
    }
}

#endif

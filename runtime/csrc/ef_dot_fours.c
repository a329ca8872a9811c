#include "ef_dot_fours.h"

#if defined(__ARM_ARCH_6M__) && defined(__GNUC__) && !defined(EF_NO_ASM)
/* Compilers move every product through a high register, one instruction in four. */
__attribute__((naked, noinline)) void ef_dot_fours(
    __attribute__((unused)) const uint8_t *x, __attribute__((unused)) const uint8_t *w,
    __attribute__((unused)) uint32_t fours, __attribute__((unused)) int32_t *acc)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_dot_channel k, c, sum\n"
        "ldrb r3, [r1, #4 * \\k + \\c]\n"
        "muls r3, r2, r3\n"
        "adds \\sum, \\sum, r3\n"
        ".endm\n"
        ".macro ef_dot_tap k\n"
        "ldrb r2, [r0, #\\k]\n"
        "ef_dot_channel \\k, 0, r4\n"
        "ef_dot_channel \\k, 1, r5\n"
        "ef_dot_channel \\k, 2, r6\n"
        "ef_dot_channel \\k, 3, r7\n"
        ".endm\n"
        "push {r3-r7, lr}\n"
        "ldm r3!, {r4-r7}\n"
        "lsls r2, r2, #2\n"
        "adds r2, r2, r0\n"
        "mov r12, r2\n"
        "1:\n"
        "ef_dot_tap 0\n"
        "ef_dot_tap 1\n"
        "ef_dot_tap 2\n"
        "ef_dot_tap 3\n"
        "adds r0, r0, #4\n"
        "adds r1, r1, #16\n"
        "cmp r0, r12\n"
        "bne 1b\n"
        "pop {r3}\n"
        "stm r3!, {r4-r7}\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_dot_channel\n"
        ".purgem ef_dot_tap\n");
}
#else
void ef_dot_fours(const uint8_t *x, const uint8_t *w, uint32_t fours, int32_t *acc)
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    int32_t acc2 = acc[2];
    int32_t acc3 = acc[3];
    for (; fours != 0; fours--) {
        for (uint32_t k = 0; k < 4; k++) {
            acc0 += x[k] * w[4 * k];
            acc1 += x[k] * w[4 * k + 1];
            acc2 += x[k] * w[4 * k + 2];
            acc3 += x[k] * w[4 * k + 3];
        }
        x += 4;
        w += 16;
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}
#endif

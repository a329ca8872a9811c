#include "ef_swar.h"

#if EF_HAS_ARMV6M

/* r0 inputs, r1 weights, r2 a word of inputs, r3 product; r4-r7 the sums of words of channels 0 to
 * 3, r8-r11 those of upper halves; r12 where the inputs end. The loop is 4 taps of 42 bytes; it is
 * entered in the middle when the taps are no multiple of 4. */
__attribute__((naked, noinline)) void ef_swar_pairs(__attribute__((unused)) const uint32_t *x,
                                                    __attribute__((unused)) const uint8_t *w,
                                                    __attribute__((unused)) uint32_t taps,
                                                    __attribute__((unused)) uint32_t *sums)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_swar_channel at, sum\n"
        "ldrb r3, [r1, #\\at]\n"
        "muls r3, r2, r3\n"
        "adds \\sum, \\sum, r3\n"
        "lsrs r3, r3, #16\n"
        ".endm\n"
        ".macro ef_swar_tap k\n"
        "ldm r0!, {r2}\n"
        "ef_swar_channel 4 * \\k, r4\n"
        "add r8, r3\n"
        "ef_swar_channel 4 * \\k + 1, r5\n"
        "add r9, r3\n"
        "ef_swar_channel 4 * \\k + 2, r6\n"
        "add r10, r3\n"
        "ef_swar_channel 4 * \\k + 3, r7\n"
        "add r11, r3\n"
        ".endm\n"
        ".macro ef_swar_separate sum, upper\n"
        "mov r3, \\upper\n"
        "lsls r3, r3, #16\n"
        "subs \\sum, \\sum, r3\n"
        ".endm\n"
        "push {r3-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r4-r7}\n"
        "lsls r3, r2, #2\n"
        "adds r3, r3, r0\n"
        "mov r12, r3\n"
        /* the taps to leave out of the first round */
        "rsbs r2, r2, #0\n"
        "movs r3, #3\n"
        "ands r2, r3\n"
        "lsls r3, r2, #2\n"
        "subs r1, r1, r3\n"
        "movs r3, #42\n"
        "muls r3, r2, r3\n"
        "adr r2, 1f\n"
        "adds r2, r2, r3\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "mov r8, r4\n"
        "mov r9, r4\n"
        "mov r10, r4\n"
        "mov r11, r4\n"
        "mov pc, r2\n"
        ".balign 4\n"
        "1:\n"
        "ef_swar_tap 0\n"
        "ef_swar_tap 1\n"
        "ef_swar_tap 2\n"
        "ef_swar_tap 3\n"
        "adds r1, r1, #16\n"
        "cmp r0, r12\n"
        "bne 1b\n"
        "ef_swar_separate r4, r8\n"
        "ef_swar_separate r5, r9\n"
        "ef_swar_separate r6, r10\n"
        "ef_swar_separate r7, r11\n"
        "ldr r0, [sp, #16]\n"
        "stm r0!, {r4-r7}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "stm r0!, {r4-r7}\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r3-r7, pc}\n"
        ".purgem ef_swar_channel\n"
        ".purgem ef_swar_tap\n"
        ".purgem ef_swar_separate\n");
}

#else

void ef_swar_pairs(const uint32_t *x, const uint8_t *w, uint32_t taps, uint32_t *sums)
{
    for (uint32_t c = 0; c < EF_SWAR_CHANNELS; c++) {
        uint32_t words = 0;
        uint32_t upper = 0;
        for (uint32_t k = 0; k < taps; k++) {
            const uint32_t product = x[k] * w[EF_SWAR_CHANNELS * k + c];
            words += product;
            upper += product >> 16;
        }
        sums[c] = words - (upper << 16);
        sums[EF_SWAR_CHANNELS + c] = upper;
    }
}

#endif

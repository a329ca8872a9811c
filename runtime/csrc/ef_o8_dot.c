#include "ef_o8.h"
#include "ef_simd.h"

#if EF_HAS_DSP

/* r0 weights, r1 strip, r2 end of a block's weights, r3 sums, r4-r7 sums of a block, r8-r11 weights,
 * r12 and lr inputs. Stack: 0 where the loop is entered, 4 bytes of a block, 8 blocks left, 16 strip.
 * The loop is 4 steps of 56 bytes, entered as in ef_o8_pairs. */
EF_NAKED void ef_o8_dot(EF_UNUSED const uint32_t *weights, EF_UNUSED const uint32_t *strip,
                        EF_UNUSED uint32_t steps, EF_UNUSED int32_t *sums,
                        EF_UNUSED uint32_t blocks)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_o8_dot_step\n"
        "ldm.w r0!, {r8-r11}\n"
        "ldrd r12, lr, [r1], #8\n"
        "smlad r4, r8, r12, r4\n"
        "smlad r6, r9, r12, r6\n"
        "smlad r4, r10, lr, r4\n"
        "smlad r6, r11, lr, r6\n"
        "sxtb16 r8, r8\n"
        "sxtb16 r9, r9\n"
        "sxtb16 r10, r10\n"
        "sxtb16 r11, r11\n"
        "smlad r5, r8, r12, r5\n"
        "smlad r7, r9, r12, r7\n"
        "smlad r5, r10, lr, r5\n"
        "smlad r7, r11, lr, r7\n"
        ".endm\n"
        "push {r1, r4-r11, lr}\n"
        "sub sp, sp, #16\n"
        "ldr r6, [sp, #56]\n"
        "lsl r5, r2, #4\n"
        "strd r5, r6, [sp, #4]\n"
        "rsb r4, r2, #0\n"
        "and r4, r4, #3\n"
        "rsb r4, r4, r4, lsl #3\n"
        "adr r5, 2f\n"
        "add r4, r5, r4, lsl #3\n"
        "add r4, r4, #1\n"
        "str r4, [sp]\n"
        "1:\n"
        "ldr r1, [sp, #16]\n"
        "ldr r2, [sp, #4]\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "add r2, r2, r0\n"
        "ldr pc, [sp]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ef_o8_dot_step\n"
        ".endr\n"
        "cmp r0, r2\n"
        "bne 2b\n"
        "sub r4, r4, r5\n"
        "sub r6, r6, r7\n"
        "asr r4, r4, #8\n"
        "asr r6, r6, #8\n"
        "stm r3!, {r4-r7}\n"
        "ldr r1, [sp, #8]\n"
        "subs r1, r1, #1\n"
        "str r1, [sp, #8]\n"
        "bne 1b\n"
        "add sp, sp, #20\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_o8_dot_step\n");
}

#else

void ef_o8_dot(const uint32_t *weights, const uint32_t *strip, uint32_t steps, int32_t *sums,
               uint32_t blocks)
{
    for (; blocks != 0; blocks--, sums += EF_O8_CHANNELS) {
        int32_t sum[EF_O8_CHANNELS] = {0, 0, 0, 0};
        for (uint32_t tap_pair = 0; tap_pair < 2 * steps; tap_pair++) {
            for (uint32_t c = 0; c < EF_O8_CHANNELS; c += 2) {
                const uint32_t both = ef_load_word(weights++);
                sum[c] = ef_smlad(both, strip[tap_pair], sum[c]);
                sum[c + 1] = ef_smlad(ef_sxtb16(both), strip[tap_pair], sum[c + 1]);
            }
        }
        for (uint32_t c = 0; c < EF_O8_CHANNELS; c++) {
            /* an even channel still carries its neighbour */
            sums[c] = c % 2 == 0 ? (int32_t)((uint32_t)sum[c] - (uint32_t)sum[c + 1]) >> 8 : sum[c];
        }
    }
}

#endif

#include "ef_o8.h"
#include "ef_simd.h"

#if EF_HAS_DSP

EF_NAKED uint32_t *ef_o8_expand_pair(EF_UNUSED uint32_t *to, EF_UNUSED const int8_t *first,
                                     EF_UNUSED const int8_t *second, EF_UNUSED uint32_t groups)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "1:\n"
        "ldr r12, [r1], #4\n"
        "ldr lr, [r2], #4\n"
        "sxtb16 r4, r12\n"
        "sxtb16 r5, lr\n"
        "sxtb16 r6, r12, ror #8\n"
        "sxtb16 r7, lr, ror #8\n"
        "stm r0!, {r4-r7}\n"
        "subs r3, r3, #1\n"
        "bne 1b\n"
        "pop {r4-r7, pc}\n");
}

#else

uint32_t *ef_o8_expand_pair(uint32_t *to, const int8_t *first, const int8_t *second,
                            uint32_t groups)
{
    for (; groups != 0; groups--) {
        const uint32_t a = ef_load_word(first);
        const uint32_t b = ef_load_word(second);
        to[0] = ef_sxtb16(a);
        to[1] = ef_sxtb16(b);
        to[2] = ef_sxtb16_odd(a);
        to[3] = ef_sxtb16_odd(b);
        first += 4;
        second += 4;
        to += 4;
    }
    return to;
}

#endif

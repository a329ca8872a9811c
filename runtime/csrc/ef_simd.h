/* The DSP instructions of Armv7E-M and Armv8-M that the _dsp kernels are built on, and the same
 * in C, so that those kernels run (and are checked by sanitizers) anywhere.
 *
 * Words are little-endian pairs of int16: `low` is bits 0..15. Sums wrap like the instructions.
 */
#ifndef EF_SIMD_H
#define EF_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(EF_NO_ASM)
#define EF_HAS_DSP 1
#else
#define EF_HAS_DSP 0
#endif

/* Whether two int16 in a word are worth it: not without these instructions. Off Arm, so that such loops
 * are checked there. */
#if EF_HAS_DSP || !defined(__arm__)
#define EF_WORDS_PAY 1
#else
#define EF_WORDS_PAY 0
#endif

#if EF_HAS_DSP
/* A function whose body is one block of assembler. Its parameters are in r0-r3. */
#define EF_NAKED __attribute__((naked, noinline))
#define EF_UNUSED __attribute__((unused))
#endif

/* Any alignment; one LDR where the target allows it. */
static inline uint32_t ef_load_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void ef_store_word(void *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

static inline uint32_t ef_pack(int32_t low, int32_t high)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(low), "r"(high));
    return word;
#else
    return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
#endif
}

static inline int32_t ef_low(uint32_t word)
{
    return (int32_t)(word << 16) >> 16;
}

static inline int32_t ef_high(uint32_t word)
{
    return (int32_t)word >> 16;
}

/* Bytes 0 and 2 (the `odd` one: 1 and 3), sign-extended. */
static inline uint32_t ef_sxtb16(uint32_t bytes)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("sxtb16 %0, %1" : "=r"(word) : "r"(bytes));
    return word;
#else
    return ef_pack((int32_t)(bytes << 24) >> 24, (int32_t)(bytes << 8) >> 24);
#endif
}

static inline uint32_t ef_sxtb16_odd(uint32_t bytes)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(word) : "r"(bytes));
    return word;
#else
    return ef_sxtb16(bytes >> 8);
#endif
}

/* Bytes 0 and 2 (the `odd` one: 1 and 3), sign-extended, added to the halves of `to`. */
static inline uint32_t ef_sxtab16(uint32_t to, uint32_t bytes)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("sxtab16 %0, %1, %2" : "=r"(word) : "r"(to), "r"(bytes));
    return word;
#else
    return ef_pack(ef_low(to) + ef_low(ef_sxtb16(bytes)), ef_high(to) + ef_high(ef_sxtb16(bytes)));
#endif
}

static inline uint32_t ef_sxtab16_odd(uint32_t to, uint32_t bytes)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(word) : "r"(to), "r"(bytes));
    return word;
#else
    return ef_sxtab16(to, bytes >> 8);
#endif
}

/* Sums of the halves, each on its own. */
static inline uint32_t ef_add16(uint32_t x, uint32_t y)
{
#if EF_HAS_DSP
    uint32_t word;
    __asm__("uadd16 %0, %1, %2" : "=r"(word) : "r"(x), "r"(y));
    return word;
#else
    return ((x + y) & 0xFFFFu) | ((x & 0xFFFF0000u) + (y & 0xFFFF0000u));
#endif
}

/* acc + low(x) * low(y) + high(x) * high(y) */
static inline int32_t ef_smlad(uint32_t x, uint32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return (int32_t)((uint32_t)acc + (uint32_t)(ef_low(x) * ef_low(y)) +
                     (uint32_t)(ef_high(x) * ef_high(y)));
#endif
}

/* acc + low(x) * low(y) */
static inline int32_t ef_smlabb(uint32_t x, uint32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return acc + ef_low(x) * ef_low(y);
#endif
}

/* acc + high(x) * low(y) */
static inline int32_t ef_smlatb(uint32_t x, uint32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return acc + ef_high(x) * ef_low(y);
#endif
}

/* acc + low(x) * high(y) */
static inline int32_t ef_smlabt(uint32_t x, uint32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return acc + ef_low(x) * ef_high(y);
#endif
}

/* acc + high(x) * high(y) */
static inline int32_t ef_smlatt(uint32_t x, uint32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return acc + ef_high(x) * ef_high(y);
#endif
}

/* round(x * y / 2^32), halves up */
static inline int32_t ef_smmulr(int32_t x, int32_t y)
{
#if EF_HAS_DSP
    int32_t product;
    __asm__("smmulr %0, %1, %2" : "=r"(product) : "r"(x), "r"(y));
    return product;
#else
    return (int32_t)(((int64_t)x * y + ((int64_t)1 << 31)) >> 32);
#endif
}

/* acc + round(x * y / 2^32), halves up */
static inline int32_t ef_smmlar(int32_t x, int32_t y, int32_t acc)
{
#if EF_HAS_DSP
    int32_t sum;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(acc));
    return sum;
#else
    return acc + ef_smmulr(x, y);
#endif
}

/* Requantization of a doubled accumulator: equals ef_requantize(acc, multiplier, -shift) plus the
 * zero point, saturated to int8, for |acc| < 2^30 and shift in 1..22, where
 * offset = (1 << (shift - 1)) + (zero_point << shift).
 *
 * The sign takes one half of the way to rounding halves away from zero. It is the sum's, not the
 * product's: they differ only where a negative product rounds to 0, and 0 and -1 give the same. */
static inline int32_t ef_requantize_doubled(int32_t doubled, int32_t multiplier, int32_t offset,
                                            int32_t shift)
{
    const int32_t value = (ef_smmlar(doubled, multiplier, offset) + (doubled >> 31)) >> shift;
#if EF_HAS_DSP
    int32_t clamped;
    __asm__("ssat %0, #8, %1" : "=r"(clamped) : "r"(value) : "cc");
    return clamped;
#else
    return value < -128 ? -128 : value > 127 ? 127 : value;
#endif
}

#endif

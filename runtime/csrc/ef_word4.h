/* Four int8 in a 32-bit word, lane 0 in the lowest byte. Addresses must be 4-aligned. */
#ifndef EF_WORD4_H
#define EF_WORD4_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define EF_WORD4_ALIGNED(pointer) __builtin_assume_aligned((pointer), 4)
#else
#define EF_WORD4_ALIGNED(pointer) (pointer)
#endif

/* One load; memcpy keeps it legal C, the promise of alignment keeps it one load on Cortex-M0+. */
static inline uint32_t ef_word4_load(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, EF_WORD4_ALIGNED(from), sizeof word);
    return word;
}

static inline void ef_word4_store(int8_t *to, uint32_t word)
{
    memcpy(EF_WORD4_ALIGNED(to), &word, sizeof word);
}

/* Lane-wise larger value. */
static inline uint32_t ef_word4_max(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    uint32_t result;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b) : "cc");
    return result;
#else
    const uint32_t high = 0x80808080u;
    /* Per lane, without a carry between lanes: is a >= b as signed numbers? */
    const uint32_t difference = (a | high) - (b & ~high);
    const uint32_t at_least = ((b & ~a) | (~(a ^ b) & difference)) & high;
    const uint32_t mask = (at_least << 1) - (at_least >> 7);
    return (a & mask) | (b & ~mask);
#endif
}

#endif

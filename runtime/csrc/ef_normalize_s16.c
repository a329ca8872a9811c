#include "ef_attributes.h"
#include "ef_normalize_root.h"
#include "ef_normalize_s16.h"
#include "ef_numerics.h"
#include "ef_simd.h"
#include "ef_wide.h"

/* What is known of a group after one look at its codes. */
typedef struct {
    int32_t total, least, most;
} survey;

#if EF_HAS_DSP
/* The smaller and the larger halves of words, each on its own. */
static inline void bound(uint32_t word, uint32_t *least, uint32_t *most)
{
    uint32_t difference;
    __asm__("ssub16 %0, %1, %2\n"
            "sel %1, %2, %1\n"
            : "=&r"(difference), "+&r"(*least)
            : "r"(word)
            : "cc");
    __asm__("ssub16 %0, %1, %2\n"
            "sel %1, %1, %2\n"
            : "=&r"(difference), "+&r"(*most)
            : "r"(word)
            : "cc");
}
#endif

static EF_OUT_OF_LINE void survey_row(const int16_t *in, uint32_t count, survey *found)
{
    int32_t total = found->total;
    int32_t least = found->least;
    int32_t most = found->most;
#if EF_HAS_DSP
    if (count >= 4) {
        const uint32_t ones = 0x00010001u;
        uint32_t low = ef_load_word(in);
        uint32_t high = low;
        for (; count >= 4; count -= 4) {
            const uint32_t first = ef_load_word(in);
            const uint32_t second = ef_load_word(in + 2);
            total = ef_smlad(first, ones, total);
            total = ef_smlad(second, ones, total);
            bound(first, &low, &high);
            bound(second, &low, &high);
            in += 4;
        }
        least = ef_low(low) < least ? ef_low(low) : least;
        least = ef_high(low) < least ? ef_high(low) : least;
        most = ef_low(high) > most ? ef_low(high) : most;
        most = ef_high(high) > most ? ef_high(high) : most;
    }
#endif
    for (const int16_t *end = in + count; in != end; in++) {
        total += *in;
        least = *in < least ? *in : least;
        most = *in > most ? *in : most;
    }
    found->total = total;
    found->least = least;
    found->most = most;
}

/* Keeps a compiler from taking x * factor + start apart again. */
static inline uint32_t opaque(uint32_t value)
{
#if EF_HAS_DSP
    __asm__("" : "+r"(value));
#endif
    return value;
}

/* z * z is below 2^32; without a multiply to 64 bits it is taken in 32. */
static inline uint64_t square(uint32_t z)
{
#if defined(__ARM_ARCH_6M__)
    return z * z;
#else
    return (uint64_t)z * z;
#endif
}

/* What every code of a group goes through. */
typedef struct {
    int32_t middle; /* what is subtracted from it */
    int32_t factor; /* what the difference is multiplied by */
    int32_t square_shift;
    int32_t root;
} steps_of_code;

static EF_OUT_OF_LINE uint64_t square_row(const steps_of_code *s, const int16_t *in,
                                          uint32_t count)
{
    const uint32_t factor = (uint32_t)s->factor;
    const uint32_t start = opaque(0u - (uint32_t)s->middle * factor);
    const int32_t shift = s->square_shift;
    const int32_t half = (int32_t)1 << (shift - 1);
    uint64_t squares = 0;
    for (const int16_t *end = in + count; in != end; in++) {
        const int32_t y = (int32_t)((uint32_t)*in * factor + start);
        const uint32_t z = (uint32_t)((y < 0 ? -y : y) + half) >> shift;
        squares += square(z);
    }
    return squares;
}

static EF_OUT_OF_LINE void normalize_row(const ef_normalize_s16_args *a, const steps_of_code *s,
                                         const int16_t *in, uint32_t first, int16_t *out)
{
    const int16_t *gain = a->gain + first;
    const int32_t *offset = a->offset + first;
    const int32_t unit_multiplier = a->unit_multiplier;
    const int32_t multiplier = a->multiplier;
    /* Products fit 30 bits, their parts need not: they are taken modulo 2^32. */
    const uint32_t factor = (uint32_t)s->factor * (uint32_t)s->root;
    const uint32_t start = 0u - (uint32_t)s->middle * factor;
#if defined(__ARM_ARCH_6M__)
    /* No 32 x 32 -> 64 multiply here: the general requantization has it in parts. */
    for (const int16_t *end = in + a->inner; in != end; in++) {
        const int32_t product = (int32_t)((uint32_t)*in * factor + start);
        const int32_t unit =
            ef_saturate_s16(ef_requantize(product, unit_multiplier, a->unit_shift));
        const int32_t acc = unit * *gain++ + *offset++;
        *out++ = ef_saturate_s16(ef_requantize(acc, multiplier, a->shift));
    }
#else
    const int32_t unit_right = -a->unit_shift;
    const int32_t unit_half = (int32_t)1 << (unit_right - 1);
    const int32_t right = -a->shift;
    const int32_t half = (int32_t)1 << (right - 1);
    const uint32_t factor2 = opaque(2 * factor);
    const uint32_t start2 = opaque(2 * start);
    for (const int16_t *end = in + a->inner; in != end; in++) {
        const int32_t twice = (int32_t)((uint32_t)*in * factor2 + start2);
        /* the sign takes halves away from zero */
        const int32_t unit = ef_saturate_word_s16(
            (ef_smmlar(twice, unit_multiplier, unit_half) + (twice >> 31)) >> unit_right);
        const int32_t acc = 2 * (unit * *gain++ + *offset++);
        *out++ = (int16_t)ef_saturate_word_s16(
            (ef_smmlar(acc, multiplier, half) + (acc >> 31)) >> right);
    }
#endif
}

static void settle(const ef_normalize_s16_args *a, const int16_t *in, steps_of_code *s)
{
    const uint32_t pitch = a->groups * a->inner;
    survey found = {0, INT16_MAX, INT16_MIN};
    int32_t largest = a->least;
    uint64_t squares = 0;
    for (uint32_t step = 0; step < a->steps; step++) {
        survey_row(in + step * pitch, a->inner, &found);
    }
    s->middle = a->centered != 0 ? ef_requantize(found.total, a->mean_multiplier, a->mean_shift) : 0;
    largest = found.most - s->middle > largest ? found.most - s->middle : largest;
    largest = s->middle - found.least > largest ? s->middle - found.least : largest;
    s->factor = ((int32_t)1 << 16) / largest;
    s->square_shift = 16 - a->square_bits;
    for (uint32_t step = 0; step < a->steps; step++) {
        squares += square_row(s, in + step * pitch, a->inner);
    }
    s->root = ef_normalize_root(a, s->factor, squares);
}

void ef_normalize_s16(const ef_normalize_s16_args *a, const int16_t *in, int16_t *out)
{
    const uint32_t pitch = a->groups * a->inner;
    for (uint32_t o = 0; o < a->outer; o++) {
        for (uint32_t first = 0; first < pitch; first += a->inner) {
            steps_of_code s;
            settle(a, in + first, &s);
            for (uint32_t step = 0; step < a->steps; step++) {
                const uint32_t place = step * pitch + first;
                normalize_row(a, &s, in + place, first, out + place);
            }
        }
        in += a->steps * pitch;
        out += a->steps * pitch;
    }
}

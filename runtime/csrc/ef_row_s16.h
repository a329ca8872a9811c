/* Rows of elementwise kernels on int16 whose scales are powers of two: a term of both operands,
 * halved and shifted to the right with two roundings, four elements at a time. */
#ifndef EF_ROW_S16_H
#define EF_ROW_S16_H

#include "ef_attributes.h"
#include "ef_clamp_row_s16.h"
#include "ef_simd.h"
#include "ef_wide.h"

/* A row's loops. Steps count bytes and are 0 or that of an element. */
typedef struct ef_row_s16 {
    const int8_t *in1, *in2;
    int32_t step1, step2;
    int8_t *out;
    int32_t bytes; /* of results */
    int32_t shift; /* 1..31 */
    int32_t low, high;
} ef_row_s16;

/* What is rounded, from the low or the high halves of two words: one more than twice what is
 * shifted. */
typedef int32_t (*ef_row_term)(const void *args, uint32_t x, uint32_t y, int32_t high);

/* ef_rdbpot(term >> 1, shift), half = 2^(shift - 1): its halves go away from zero. */
static inline int32_t ef_row_round(int32_t term, int32_t half, int32_t shift)
{
    return ef_saturate_word_s16((half + (term >> 1) + (term >> 31)) >> shift);
}

static inline void ef_row_s16_run(const ef_row_s16 *r, ef_row_term term, const void *args)
{
    const int32_t shift = r->shift;
    const int32_t half = (int32_t)1 << (shift - 1);
    const int8_t *in1 = r->in1;
    const int8_t *in2 = r->in2;
    int8_t *out = r->out;
    int32_t left = r->bytes;
#if EF_WORDS_PAY
    int16_t same1[4];
    int16_t same2[4];
    if (r->step1 == 0) {
        same1[0] = same1[1] = same1[2] = same1[3] = *(const int16_t *)(const void *)in1;
        in1 = (const int8_t *)same1;
    }
    if (r->step2 == 0) {
        same2[0] = same2[1] = same2[2] = same2[3] = *(const int16_t *)(const void *)in2;
        in2 = (const int8_t *)same2;
    }
    for (; left >= 8; left -= 8) {
        const uint32_t x0 = ef_load_word(in1);
        const uint32_t x1 = ef_load_word(in1 + 4);
        const uint32_t y0 = ef_load_word(in2);
        const uint32_t y1 = ef_load_word(in2 + 4);
        const int32_t first = ef_row_round(term(args, x0, y0, 0), half, shift);
        const int32_t second = ef_row_round(term(args, x0, y0, 1), half, shift);
        ef_store_word(out, ef_pack(first, second));
        const int32_t third = ef_row_round(term(args, x1, y1, 0), half, shift);
        const int32_t fourth = ef_row_round(term(args, x1, y1, 1), half, shift);
        ef_store_word(out + 4, ef_pack(third, fourth));
        in1 += 4 * r->step1;
        in2 += 4 * r->step2;
        out += 8;
    }
#endif
    for (; left > 0; left -= 2) {
        const uint32_t x = *(const uint16_t *)(const void *)in1;
        const uint32_t y = *(const uint16_t *)(const void *)in2;
        *(int16_t *)(void *)out = (int16_t)ef_row_round(term(args, x, y, 0), half, shift);
        in1 += r->step1;
        in2 += r->step2;
        out += 2;
    }
    ef_clamp_row_s16((int16_t *)(void *)r->out, (uint32_t)r->bytes / 2, r->low, r->high);
}

#endif

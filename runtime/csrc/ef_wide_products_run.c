#include "ef_simd.h"
#include "ef_wide.h"
#include "ef_wide_products.h"

#if EF_HAS_DSP

#include <stddef.h>

typedef char ef_wide_products_layout_is_known[offsetof(ef_wide_products, column_step) == 8 &&
                                                      offsetof(ef_wide_products, shift) == 20
                                                  ? 1
                                                  : -1];

/* r0 rows, r1 columns, r2-r9 four sums of 64 bits: row 0 with columns 0 and 1, then row 1; r10-r11
 * rows, r12 and lr columns. Stack: 0 end of the pair's columns, 4 bytes of a pair, 8 where the loop is
 * entered, 12 rows, 16 half, 20 shift, 24 32 - shift, 28 out, 32 column step, 36 row step, 40 pairs
 * left. The loop is 4 steps of 48 bytes; it is entered in the middle when the steps are no multiple
 * of 4. */
EF_NAKED void ef_wide_products_run(EF_UNUSED const ef_wide_products *p,
                                   EF_UNUSED const uint32_t *rows,
                                   EF_UNUSED const uint32_t *columns, EF_UNUSED int16_t *out)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_wide_products_two\n"
        "ldrd r10, r11, [r0], #8\n"
        "ldrd r12, lr, [r1], #8\n"
        "smlald r2, r3, r10, r12\n"
        "smlald r4, r5, r10, lr\n"
        "smlald r6, r7, r11, r12\n"
        "smlald r8, r9, r11, lr\n"
        ".endm\n"
        ".macro ef_wide_products_finish low, high\n"
        "lsr \\low, \\low, r10\n"
        "lsl \\high, \\high, r11\n"
        "orr \\low, \\low, \\high\n"
        "ssat \\low, #16, \\low\n"
        ".endm\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #44\n"
        "ldm r0, {r4-r9}\n"
        "str r1, [sp, #12]\n"
        "rsb r10, r9, #32\n"
        "strd r8, r9, [sp, #16]\n"
        "strd r10, r3, [sp, #24]\n"
        "strd r6, r7, [sp, #32]\n"
        "str r5, [sp, #40]\n"
        "mov r1, r2\n"
        "lsl r8, r4, #4\n"
        "add r9, r1, r8\n"
        "strd r9, r8, [sp]\n"
        "rsb r4, r4, #0\n"
        "and r4, r4, #3\n"
        "add r4, r4, r4, lsl #1\n"
        "adr r8, 2f\n"
        "add r8, r8, r4, lsl #4\n"
        "add r8, r8, #1\n"
        "str r8, [sp, #8]\n"
        "1:\n"
        "ldr r0, [sp, #12]\n"
        "ldr r2, [sp, #16]\n"
        "movs r3, #0\n"
        "mov r4, r2\n"
        "movs r5, #0\n"
        "mov r6, r2\n"
        "movs r7, #0\n"
        "mov r8, r2\n"
        "mov r9, #0\n"
        "ldr pc, [sp, #8]\n"
        ".balign 4\n"
        "2:\n"
        ".rept 8\n"
        "ef_wide_products_two\n"
        ".endr\n"
        "ldr r10, [sp]\n"
        "cmp r1, r10\n"
        "bne 2b\n"
        "ldr r11, [sp, #4]\n"
        "add r10, r10, r11\n"
        "str r10, [sp]\n"
        "ldrd r10, r11, [sp, #20]\n"
        "ef_wide_products_finish r2, r3\n"
        "ef_wide_products_finish r4, r5\n"
        "ef_wide_products_finish r6, r7\n"
        "ef_wide_products_finish r8, r9\n"
        "ldr r10, [sp, #28]\n"
        "ldrd r11, r12, [sp, #32]\n"
        "ldr lr, [sp, #40]\n"
        "add r3, r10, r12\n"
        "strh r8, [r3, r11]\n"
        "strh r6, [r3]\n"
        "strh r4, [r10, r11]\n"
        "strh r2, [r10]\n"
        "add r10, r10, r11, lsl #1\n"
        "str r10, [sp, #28]\n"
        "subs lr, lr, #1\n"
        "str lr, [sp, #40]\n"
        "bne 1b\n"
        "add sp, sp, #44\n"
        "pop {r4-r11, pc}\n"
        ".purgem ef_wide_products_two\n"
        ".purgem ef_wide_products_finish\n");
}

#else

static int16_t product(const ef_wide_products *p, const uint32_t *row, const uint32_t *column)
{
    int64_t sum = p->half;
    for (uint32_t word = 0; word < 4 * p->steps; word += 2) {
        const uint32_t x = row[word];
        const uint32_t y = column[word];
        sum += (int64_t)ef_low(x) * ef_low(y) + (int64_t)ef_high(x) * ef_high(y);
    }
    return ef_saturate_s16((int32_t)(sum >> p->shift));
}

void ef_wide_products_run(const ef_wide_products *p, const uint32_t *rows, const uint32_t *columns,
                          int16_t *out)
{
    int8_t *to = (int8_t *)out;
    for (uint32_t pair = 0; pair < p->pairs; pair++) {
        for (uint32_t row = 0; row < 2; row++) {
            for (uint32_t column = 0; column < 2; column++) {
                int8_t *place = to + (int32_t)row * p->row_step + (int32_t)column * p->column_step;
                *(int16_t *)(void *)place = product(p, rows + row, columns + column);
            }
        }
        columns += 4 * p->steps;
        to += 2 * p->column_step;
    }
}

#endif

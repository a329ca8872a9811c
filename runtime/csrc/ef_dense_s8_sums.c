#include <string.h>

#include "ef_conv2d.h"
#include "ef_sums.h"
#include "ef_swar.h"

/* Taps of one pass over the output channels: a pair for each table. */
#define TAPS (2 * EF_SUMS_TABLES)

static void prepare(const uint8_t *table, ef_sums_values *values)
{
    uint32_t before = 0;
    values->bias = EF_SUMS_BIAS + (EF_SUMS_BIAS << 16);
    for (uint32_t i = 0; i < 16; i++) {
        const uint32_t value = (uint32_t)(int32_t)(int8_t)table[i];
        values->steps[i] = (value - before) * 0x10001u;
        if (i % 2 == 0) {
            values->pairs[i / 2] = value;
        } else {
            values->pairs[i / 2] += value << 16;
        }
        before = value;
    }
}

static inline void pass(const uint8_t *codes, const ef_sums_values *values, const int8_t *x,
                        uint16_t *tables, uint32_t *sums, uint32_t fours)
{
    ef_sums_fill(tables, values, x);
    ef_sums_add(codes, tables, sums, fours);
}

void ef_dense_s8_sums(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t fours = (a->out_c + EF_SWAR_CHANNELS - 1u) / EF_SWAR_CHANNELS;
    const uint8_t *codes = (const uint8_t *)a->weights.data;
    uint16_t *const tables = (uint16_t *)scratch;
    uint32_t *const sums = (uint32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    const uint32_t passes = (taps + TAPS - 1) / TAPS;
    const uint32_t pass_codes = EF_SUMS_TABLES * EF_SWAR_CHANNELS * fours;
    ef_sums_values values;
    ef_swar_block block;

    prepare(a->weights.table, &values);
    for (uint32_t c = 0; c < EF_SWAR_CHANNELS * fours; c++) {
        sums[c] = 0;
    }
    for (const int8_t *const end = in + taps / TAPS * TAPS; in != end; in += TAPS) {
        pass(codes, &values, in, tables, sums, fours);
        codes += pass_codes;
    }
    if (taps % TAPS != 0) {
        int8_t last[TAPS] = {0, 0, 0, 0};
        memcpy(last, in, taps % TAPS);
        pass(codes, &values, last, tables, sums, fours);
    }
    ef_swar_begin(a, 0, a->out_c, &block);
    block.pixel[0].offset = EF_SUMS_TABLES * EF_SUMS_BIAS * passes;
    block.pixel[0].sums = sums;
    block.pixel[0].out = out;
    block.pixel[1].out = NULL;
    ef_swar_finish(&block);
}

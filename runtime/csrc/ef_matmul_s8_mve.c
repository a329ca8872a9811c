#include "ef_matmul.h"
#include "ef_mve.h"

/* Columns of the second matrix are packed as rows of depth, so that four of them meet one row of the
 * first in ef_mve_dot_4. Codes are taken as they are; out of the sums come zero_point1 * sum(in2),
 * zero_point2 * sum(in1) and what both take off twice. */

static int32_t sum_of(const int8_t *x, uint32_t count)
{
    int32_t sum = 0;
#if EF_HAS_MVE
    for (int32_t left = (int32_t)count; left > 0; left -= 16) {
        const mve_pred16_t lanes = vctp8q((uint32_t)left);
        sum = vaddvaq_p_s8(sum, vldrbq_z_s8(x, lanes), lanes);
        x += 16;
    }
#else
    for (const int8_t *end = x + count; x != end; x++) {
        sum += *x;
    }
#endif
    return sum;
}

/* `count` elements, `step` bytes apart. */
static void pack(const int8_t *from, uint32_t step, uint32_t count, int8_t *to)
{
    if (step == 1) {
        ef_mve_copy(to, from, count);
        return;
    }
    for (const int8_t *end = to + count; to != end; to++) {
        *to = *from;
        from += step;
    }
}

static void product(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                    void *scratch)
{
    const uint32_t depth = a->depth;
    int32_t *offsets = (int32_t *)scratch;
    int8_t *packed = (int8_t *)(offsets + a->tile);
    int8_t *row = packed + a->tile * depth;
    const int32_t constant = (int32_t)depth * a->zero_point1 * a->zero_point2;
    const int8_t shifts[EF_MVE_CHANNELS] = {(int8_t)a->shift, (int8_t)a->shift, (int8_t)a->shift,
                                            (int8_t)a->shift};
    const int32_t multipliers[EF_MVE_CHANNELS] = {a->multiplier, a->multiplier, a->multiplier,
                                                  a->multiplier};
    int32_t bias[EF_MVE_CHANNELS] = {0, 0, 0, 0};
    ef_conv2d_args view;
    memset(&view, 0, sizeof view);
    view.bias = bias;
    view.multiplier = multipliers;
    view.shift = shifts;
    view.out_zero_point = (int16_t)a->out_zero_point;
    view.clamp_min = INT8_MIN;
    view.clamp_max = INT8_MAX;
    ef_mve_output output = ef_mve_output_of(&view, 0, EF_MVE_CHANNELS);

    for (uint32_t first = 0; first < a->columns; first += a->tile) {
        const uint32_t left = a->columns - first;
        const uint32_t columns = left < a->tile ? left : a->tile;
        for (uint32_t c = 0; c < columns; c++) {
            int8_t *to = packed + c * depth;
            pack(in2 + (first + c) * a->column_step2, a->depth_step2, depth, to);
            offsets[c] = constant - a->zero_point1 * sum_of(to, depth);
        }
        /* Four are read at a time. */
        for (uint32_t c = columns; c % EF_MVE_CHANNELS != 0; c++) {
            ef_mve_fill(packed + c * depth, 0, depth);
            offsets[c] = 0;
        }
        for (uint32_t r = 0; r < a->rows; r++) {
            const int8_t *x = in1 + r * a->row_step1;
            int8_t *target = out + r * a->row_step_out + first * a->column_step_out;
            if (a->depth_step1 != 1) {
                pack(x, a->depth_step1, depth, row);
                x = row;
            }
            const int32_t row_offset = a->zero_point2 * sum_of(x, depth);
            for (uint32_t c = 0; c < columns; c += EF_MVE_CHANNELS) {
                const uint32_t rest = columns - c;
                const uint32_t count = rest < EF_MVE_CHANNELS ? rest : EF_MVE_CHANNELS;
#if EF_HAS_MVE
                output.bias = vaddq_n_s32(vldrwq_s32(offsets + c), -row_offset);
                output.channels = vctp32q(count);
#else
                for (uint32_t i = 0; i < EF_MVE_CHANNELS; i++) {
                    bias[i] = offsets[c + i] - row_offset;
                }
                output.channels = count;
#endif
                if (a->column_step_out == 1) {
                    ef_mve_dot_4(&output, x, packed + c * depth, depth, target + c);
                    continue;
                }
                int8_t results[EF_MVE_CHANNELS];
                ef_mve_dot_4(&output, x, packed + c * depth, depth, results);
                for (uint32_t i = 0; i < count; i++) {
                    target[(c + i) * a->column_step_out] = results[i];
                }
            }
        }
    }
}

void ef_matmul_s8_mve(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch)
{
    ef_matmul_each(a, in1, in2, out, scratch, product);
}

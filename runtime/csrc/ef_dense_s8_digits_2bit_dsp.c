#include "ef_dense_dsp.h"
#include "ef_digits_2bit.h"
#include "ef_o8.h"

void ef_dense_s8_digits_2bit_dsp(const ef_conv2d_args *a, const int8_t *in, int8_t *out,
                                 void *scratch)
{
    const uint32_t taps = (uint32_t)a->in_h * a->in_w * a->in_c;
    const uint32_t steps = (taps + EF_O8_TAPS - 1) / EF_O8_TAPS;
    const uint32_t interval = ef_digits_2bit_interval(&a->weights);
    const int32_t base = ef_digits_base(&a->weights);
    const int32_t step = ef_digits_step(&a->weights);
    const uint32_t *weights = (const uint32_t *)a->weights.data;
    uint32_t *strip = (uint32_t *)scratch;

    ef_o8_expand_input(in, taps, strip);
    const int32_t sum = ef_digits_sum(strip, steps);
    const int32_t stored_as_0 = a->weights.table[2] * sum;
    ef_dense_outputs outputs = ef_dense_outputs_of(a, step, base * sum, out);
    for (uint32_t c = 0; c < a->out_c; c += EF_DIGITS_CHANNELS) {
        const uint32_t left = a->out_c - c;
        int32_t sums[EF_DIGITS_CHANNELS] = {stored_as_0, 0, stored_as_0, 0,
                                            stored_as_0, 0, stored_as_0, 0};
        for (uint32_t done = 0; done < steps; done += EF_DIGITS_2BIT_MOST_STEPS) {
            const uint32_t rest = steps - done;
            const uint32_t count =
                rest < EF_DIGITS_2BIT_MOST_STEPS ? rest : EF_DIGITS_2BIT_MOST_STEPS;
            weights = ef_digits_2bit_dot(weights, strip + 2 * done, sums,
                                         ef_digits_2bit_turns(count, interval));
        }
        ef_dense_finish(&outputs, sums, left < EF_DIGITS_CHANNELS ? left : EF_DIGITS_CHANNELS);
    }
    ef_clamp_outputs(a, out, a->out_c);
}

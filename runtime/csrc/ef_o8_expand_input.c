#include "ef_o8.h"
#include "ef_simd.h"

void ef_o8_expand_input(const int8_t *in, uint32_t taps, uint32_t *to)
{
    for (uint32_t groups = taps / EF_O8_TAPS; groups != 0; groups--) {
        const uint32_t bytes = ef_load_word(in);
        to[0] = ef_sxtb16(bytes);
        to[1] = ef_sxtb16_odd(bytes);
        in += EF_O8_TAPS;
        to += 2;
    }
    if (taps % EF_O8_TAPS != 0) {
        int8_t last[EF_O8_TAPS] = {0, 0, 0, 0};
        memcpy(last, in, taps % EF_O8_TAPS);
        const uint32_t bytes = ef_load_word(last);
        to[0] = ef_sxtb16(bytes);
        to[1] = ef_sxtb16_odd(bytes);
    }
}

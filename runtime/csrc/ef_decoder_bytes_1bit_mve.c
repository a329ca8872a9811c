#include "ef_mve.h"
#include "ef_weights.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 8;
    const uint8_t *table = weights->table;
    uint8_t *bytes = (uint8_t *)out;

    (void)lut;
#if EF_HAS_MVE
    /* For each of 16 codes: the byte that it lies in, and its bit there. */
    const uint8x16_t at = vaddq_n_u8(vidupq_n_u8(0, 1), (uint8_t)(first % 8));
    const uint8x16_t byte = vshrq_n_u8(at, 3);
    const int8x16_t place = vreinterpretq_s8_u8(vandq_u8(at, vdupq_n_u8(7)));
    const uint8x16_t bit = vshlq_u8(vdupq_n_u8(1), place);
    const uint8x16_t zeros = vdupq_n_u8(table[0]);
    const uint8x16_t ones = vdupq_n_u8(table[1]);
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
            "1:\n"
            "vldrb.u8 q0, [%[data], %q[byte]]\n"
            "add %[data], #2\n"
            "vand q0, q0, %q[bit]\n"
            "vcmp.i8 ne, q0, %[zero]\n"
            "vpsel q0, %q[ones], %q[zeros]\n"
            "vstrb.8 q0, [%[out]], #16\n"
            "letp lr, 1b\n"
            "2:\n"
            : [data] "+r"(data), [out] "+r"(bytes)
            : [count] "r"(count), [zero] "r"(0), [byte] "w"(byte), [bit] "w"(bit),
              [ones] "w"(ones), [zeros] "w"(zeros)
            : "q0", "lr", "memory");
#else
    for (uint32_t i = first % 8; i < first % 8 + count; i++) {
        *bytes++ = table[((uint32_t)data[i / 8] >> (i % 8)) & 1u];
    }
#endif
}

const ef_decoder ef_decoder_bytes_1bit_mve = {NULL, decode};

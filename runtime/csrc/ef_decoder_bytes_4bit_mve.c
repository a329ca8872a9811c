#include "ef_mve.h"
#include "ef_weights.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 2;
    const uint8_t *table = weights->table;
    uint8_t *bytes = (uint8_t *)out;

    (void)lut;
#if EF_HAS_MVE
    /* q0: a byte of two codes in each 16-bit lane; spread, a code in each byte. The loop counts
     * codes, so its last round leaves out the lanes past the end. */
    const uint8x16_t low_nibbles = vdupq_n_u8(15);
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
            "1:\n"
            "vldrb.u16 q0, [%[data]], #8\n"
            "vshl.i16 q1, q0, #4\n"
            "vorr q0, q0, q1\n"
            "vand q0, q0, %q[mask]\n"
            "vldrb.u8 q1, [%[table], q0]\n"
            "vstrb.8 q1, [%[out]], #16\n"
            "letp lr, 1b\n"
            "2:\n"
            : [data] "+r"(data), [out] "+r"(bytes)
            : [count] "r"(count), [table] "r"(table), [mask] "w"(low_nibbles)
            : "q0", "q1", "lr", "memory");
#else
    for (uint32_t i = 0; i < count; i++) {
        *bytes++ = table[((uint32_t)data[i / 2] >> (4 * (i % 2))) & 15u];
    }
#endif
}

const ef_decoder ef_decoder_bytes_4bit_mve = {NULL, decode};

#include "ef_mve.h"
#include "ef_weights.h"

static void decode(const ef_weights *weights, const void *lut, uint32_t first, uint32_t count,
                   void *out)
{
    const uint8_t *data = (const uint8_t *)weights->data + first / 4;
    const uint8_t *table = weights->table;
    uint8_t *bytes = (uint8_t *)out;

    (void)lut;
#if EF_HAS_MVE
    /* q0: a byte of four codes in each 32-bit lane; spread twice, a code in each byte. The loop counts
     * codes, so its last round leaves out the lanes past the end. */
    const uint32x4_t pairs = vdupq_n_u32(0x000F000Fu);
    const uint32x4_t codes = vdupq_n_u32(0x03030303u);
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
            "1:\n"
            "vldrb.u32 q0, [%[data]], #4\n"
            "vshl.i32 q1, q0, #12\n"
            "vorr q0, q0, q1\n"
            "vand q0, q0, %q[pairs]\n"
            "vshl.i32 q1, q0, #6\n"
            "vorr q0, q0, q1\n"
            "vand q0, q0, %q[codes]\n"
            "vldrb.u8 q1, [%[table], q0]\n"
            "vstrb.8 q1, [%[out]], #16\n"
            "letp lr, 1b\n"
            "2:\n"
            : [data] "+r"(data), [out] "+r"(bytes)
            : [count] "r"(count), [table] "r"(table), [pairs] "w"(pairs), [codes] "w"(codes)
            : "q0", "q1", "lr", "memory");
#else
    for (uint32_t i = 0; i < count; i++) {
        *bytes++ = table[((uint32_t)data[i / 4] >> (2 * (i % 4))) & 3u];
    }
#endif
}

const ef_decoder ef_decoder_bytes_2bit_mve = {NULL, decode};

/* The vector operations of Armv8.1-M (MVE) that the _mve kernels are built on, four output channels
 * at a time, and the same in C, so that those kernels run (and are checked by sanitizers) anywhere.
 */
#ifndef EF_MVE_H
#define EF_MVE_H

#include <stdint.h>
#include <string.h>

#include "ef_conv2d.h"
#include "ef_numerics.h"

#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__) && !defined(EF_NO_ASM)
#define EF_HAS_MVE 1
#include <arm_mve.h>
#else
#define EF_HAS_MVE 0
#endif

#define EF_MVE_CHANNELS 4u

/* What the accumulators of up to four channels go through. */
typedef struct {
#if EF_HAS_MVE
    int32x4_t bias, multiplier, left, right, low, high;
    int32_t zero_point;
    mve_pred16_t channels;
#else
    const ef_conv2d_args *args;
    uint32_t first, channels;
#endif
} ef_mve_output;

/* `count` channels from `first` on. */
static inline ef_mve_output ef_mve_output_of(const ef_conv2d_args *a, uint32_t first,
                                             uint32_t count)
{
    ef_mve_output o;
#if EF_HAS_MVE
    const mve_pred16_t channels = vctp32q(count);
    const int32x4_t shift = vldrbq_z_s32(a->shift + first, channels);
    o.channels = channels;
    o.bias = vldrwq_z_s32((const int32_t *)a->bias + first, channels);
    o.multiplier = vldrwq_z_s32(a->multiplier + first, channels);
    o.left = vmaxq_s32(shift, vdupq_n_s32(0));
    o.right = vminq_s32(shift, vdupq_n_s32(0));
    o.low = vdupq_n_s32(a->clamp_min);
    o.high = vdupq_n_s32(a->clamp_max);
    o.zero_point = a->out_zero_point;
#else
    o.args = a;
    o.first = first;
    o.channels = count;
#endif
    return o;
}

#if EF_HAS_MVE
/* ef_requantize on four lanes. VRSHL rounds halves up; one is taken off a negative value that is
 * shifted to the right, so that its halves go down. */
static inline int32x4_t ef_mve_requantize(int32x4_t acc, int32x4_t multiplier, int32x4_t left,
                                          int32x4_t right)
{
    const int32x4_t product = vqrdmulhq_s32(vshlq_s32(acc, left), multiplier);
    const int32x4_t sign = vshrq_n_s32(vandq_s32(product, right), 31);
    return vrshlq_s32(vaddq_s32(product, sign), right);
}
#endif

#if EF_HAS_MVE
static inline void ef_mve_store(const ef_mve_output *o, int32x4_t sums, int8_t *out)
{
    int32x4_t acc = vaddq_s32(sums, o->bias);
    acc = ef_mve_requantize(acc, o->multiplier, o->left, o->right);
    acc = vaddq_n_s32(acc, o->zero_point);
    acc = vminq_s32(vmaxq_s32(acc, o->low), o->high);
    vstrbq_p_s32(out, acc, o->channels);
}
#endif

/* Bias, requantization and clamp of the sums of up to four channels. */
static inline void ef_mve_finish(const ef_mve_output *o, const int32_t *sums, int8_t *out)
{
#if EF_HAS_MVE
    ef_mve_store(o, vldrwq_s32(sums), out);
#else
    const ef_conv2d_args *a = o->args;
    for (uint32_t c = 0; c < o->channels; c++) {
        const uint32_t oc = o->first + c;
        const int32_t scaled =
            ef_requantize(sums[c] + ((const int32_t *)a->bias)[oc], a->multiplier[oc], a->shift[oc]);
        out[c] = ef_clamp_s8(scaled + a->out_zero_point, a->clamp_min, a->clamp_max);
    }
#endif
}

/* Up to four output channels of one pixel from the dot products of x with the four rows of w, k
 * values each. */
static inline void ef_mve_dot_4(const ef_mve_output *o, const int8_t *x, const int8_t *w,
                                uint32_t k, int8_t *out)
{
#if EF_HAS_MVE
    const int8_t *w1 = w + k;
    const int8_t *w2 = w1 + k;
    const int8_t *w3 = w2 + k;
    int32_t s0 = 0;
    int32_t s1 = 0;
    int32_t s2 = 0;
    int32_t s3 = 0;
    int32x4_t sums;
    __asm__ volatile("dlstp.8 lr, %[k]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[x]], #16\n"
                     "vldrb.8 q1, [%[w0]], #16\n"
                     "vmladava.s8 %[s0], q0, q1\n"
                     "vldrb.8 q1, [%[w1]], #16\n"
                     "vmladava.s8 %[s1], q0, q1\n"
                     "vldrb.8 q1, [%[w2]], #16\n"
                     "vmladava.s8 %[s2], q0, q1\n"
                     "vldrb.8 q1, [%[w3]], #16\n"
                     "vmladava.s8 %[s3], q0, q1\n"
                     "letp lr, 1b\n"
                     "vmov %q[sums][2], %q[sums][0], %[s0], %[s2]\n"
                     "vmov %q[sums][3], %q[sums][1], %[s1], %[s3]\n"
                     : [sums] "=&w"(sums), [x] "+r"(x), [w0] "+r"(w), [w1] "+r"(w1),
                       [w2] "+r"(w2), [w3] "+r"(w3), [s0] "+Te"(s0), [s1] "+Te"(s1),
                       [s2] "+Te"(s2), [s3] "+Te"(s3)
                     : [k] "r"(k)
                     : "q0", "q1", "lr", "memory");
    ef_mve_store(o, sums, out);
#else
    int32_t sums[EF_MVE_CHANNELS];
    for (uint32_t r = 0; r < EF_MVE_CHANNELS; r++) {
        sums[r] = 0;
        for (uint32_t i = 0; i < k; i++) {
            sums[r] += x[i] * w[r * k + i];
        }
    }
    ef_mve_finish(o, sums, out);
#endif
}

/* Copies n bytes. */
static inline void ef_mve_copy(int8_t *to, const int8_t *from, uint32_t n)
{
#if EF_HAS_MVE
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
            "1:\n"
            "vldrb.8 q0, [%[from]], #16\n"
            "vstrb.8 q0, [%[to]], #16\n"
            "letp lr, 1b\n"
            "2:\n"
            : [to] "+r"(to), [from] "+r"(from)
            : [n] "r"(n)
            : "q0", "lr", "memory");
#else
    memcpy(to, from, n);
#endif
}

/* Sets n bytes. */
static inline void ef_mve_fill(int8_t *to, int32_t value, uint32_t n)
{
#if EF_HAS_MVE
    const int8x16_t values = vdupq_n_s8((int8_t)value);
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n"
                     "vstrb.8 %q[values], [%[to]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to)
                     : [n] "r"(n), [values] "w"(values)
                     : "lr", "memory");
#else
    memset(to, value, n);
#endif
}

#endif

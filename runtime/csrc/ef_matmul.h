/* Batched products of int8 or int16 matrices in any layout: out[r][c] = sum over d of
 * (in1[r][d] - zero_point1) * (in2[d][c] - zero_point2), requantized.
 */
#ifndef EF_MATMUL_H
#define EF_MATMUL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EF_MATMUL_BATCH_AXES 3

typedef struct ef_matmul_args {
    /* Loops over matrices, the last one runs fastest; steps in bytes, 0 where one is repeated. */
    uint32_t batch[EF_MATMUL_BATCH_AXES];
    uint32_t batch_step1[EF_MATMUL_BATCH_AXES];
    uint32_t batch_step2[EF_MATMUL_BATCH_AXES];
    uint32_t batch_step_out[EF_MATMUL_BATCH_AXES];
    uint32_t rows, depth, columns;
    uint32_t tile; /* columns packed at a time, a multiple of 4 */
    uint32_t row_step1, depth_step1;
    uint32_t depth_step2, column_step2;
    uint32_t row_step_out, column_step_out;
    int32_t zero_point1, zero_point2, out_zero_point;
    int32_t multiplier; /* as ef_requantize takes it */
    int32_t shift;
} ef_matmul_args;

/* Plain twin of the others. No scratch. */
void ef_matmul_s8_ref(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch);

/* Portable. scratch: tile * (depth + 4) + depth bytes, 4-aligned. */
void ef_matmul_s8(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                  void *scratch);

/* For cores with SMLAD; shift in -22..-1, depth below 2^30 / 255^2.
 * scratch: 2 * (tile + 2) * (depth rounded up to 4) bytes, 4-aligned. */
void ef_matmul_s8_dsp(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch);

/* On int16; zero points are 0, sums have 64 bits, multiplier and shift are what ef_scale_wide takes.
 * Steps between matrices count bytes, all others elements. No scratch. */
void ef_matmul_s16(const ef_matmul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out,
                   void *scratch);

/* The same for cores with SMLAD, a multiplier of 2^14 and shifts of 15..46. scratch as
 * ef_matmul_s8_dsp. */
void ef_matmul_s16_dsp(const ef_matmul_args *a, const int16_t *in1, const int16_t *in2, int16_t *out,
                       void *scratch);

/* For cores with MVE. scratch as ef_matmul_s8. */
void ef_matmul_s8_mve(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2, int8_t *out,
                      void *scratch);

typedef void (*ef_matmul_one)(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2,
                              int8_t *out, void *scratch);

/* Calls `one` for each pair of matrices. */
static inline void ef_matmul_each(const ef_matmul_args *a, const int8_t *in1, const int8_t *in2,
                                  int8_t *out, void *scratch, ef_matmul_one one)
{
    for (uint32_t i = 0; i < a->batch[0]; i++) {
        for (uint32_t j = 0; j < a->batch[1]; j++) {
            for (uint32_t k = 0; k < a->batch[2]; k++) {
                one(a,
                    in1 + i * a->batch_step1[0] + j * a->batch_step1[1] + k * a->batch_step1[2],
                    in2 + i * a->batch_step2[0] + j * a->batch_step2[1] + k * a->batch_step2[2],
                    out + i * a->batch_step_out[0] + j * a->batch_step_out[1] +
                        k * a->batch_step_out[2],
                    scratch);
            }
        }
    }
}

#ifdef __cplusplus
}
#endif

#endif

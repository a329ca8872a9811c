#include "ef_conv2d.h"
#include "ef_numerics.h"

/* Output channels computed together; the weights of a block lie as [k][BLOCK]. */
#define BLOCK 4u

/* Where the receptive field of a pixel goes. Values are stored as value + 128: Cortex-M0+ has no
 * load of a signed byte at a constant offset. The exporter takes 128 * sum(weights) off the bias. */
typedef struct {
    uint8_t *to;
    int32_t sum;
} field;

static void fill(field *f, int32_t value, uint32_t count)
{
    uint8_t *to = f->to;
    f->sum += value * (int32_t)count;
    for (uint8_t *end = to + count; to != end; to++) {
        *to = (uint8_t)value;
    }
    f->to = to;
}

static void copy(field *f, const int8_t *from, uint32_t count)
{
    uint8_t *to = f->to;
    int32_t sum = f->sum;
    for (uint8_t *end = to + count; to != end; to++) {
        const int32_t value = *from++ + 128;
        *to = (uint8_t)value;
        sum += value;
    }
    f->to = to;
    f->sum = sum;
}

static int32_t between(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Copies the receptive field of one output pixel, in the order of the weights, to `row`.
 * Returns the sum of what was written. */
static int32_t gather(const ef_conv2d_args *a, const int8_t *in, uint32_t pixel, uint32_t first_c,
                      uint8_t *row)
{
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t oy = pixel / a->out_w;
    const int32_t x0 = (int32_t)(pixel - oy * a->out_w) * a->stride_w - a->pad_left;
    const int32_t padding = a->in_zero_point + 128;
    /* taps of a line that lie together are copied together */
    const int32_t run = a->groups == 1 && a->dilation_w == 1 ? a->kernel_w : 1;
    int32_t y = (int32_t)oy * a->stride_h - a->pad_top;
    field f = {row, 0};
    for (int32_t ky = a->kernel_h; ky != 0; ky--) {
        int32_t x = x0;
        for (int32_t kx = 0; kx < a->kernel_w; kx += run) {
            if (y < 0 || y >= a->in_h) {
                fill(&f, padding, (uint32_t)run * group_in_c);
            } else {
                const int32_t left = between(-x, 0, run);
                const int32_t right = between(x + run - a->in_w, 0, run);
                if (left != 0) {
                    fill(&f, padding, (uint32_t)left * group_in_c);
                }
                if (left + right != run) {
                    copy(&f, in + (y * a->in_w + x + left) * a->in_c + first_c,
                         (uint32_t)(run - left - right) * group_in_c);
                }
                if (right != 0) {
                    fill(&f, padding, (uint32_t)right * group_in_c);
                }
            }
            x += a->dilation_w;
        }
        y += a->dilation_h;
    }
    return f.sum;
}

/* acc[c] += sum over 4 * fours taps of w[k][c] * x[k], with both factors 128 too large. */
#if defined(__ARM_ARCH_6M__) && defined(__GNUC__) && !defined(EF_NO_ASM)
/* Compilers move every product through a high register, one instruction in four. */
__attribute__((naked, noinline)) static void dot_fours(
    __attribute__((unused)) const uint8_t *x, __attribute__((unused)) const uint8_t *w,
    __attribute__((unused)) uint32_t fours, __attribute__((unused)) int32_t *acc)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro ef_dot_channel k, c, sum\n"
        "ldrb r3, [r1, #4 * \\k + \\c]\n"
        "muls r3, r2, r3\n"
        "adds \\sum, \\sum, r3\n"
        ".endm\n"
        ".macro ef_dot_tap k\n"
        "ldrb r2, [r0, #\\k]\n"
        "ef_dot_channel \\k, 0, r4\n"
        "ef_dot_channel \\k, 1, r5\n"
        "ef_dot_channel \\k, 2, r6\n"
        "ef_dot_channel \\k, 3, r7\n"
        ".endm\n"
        "push {r3-r7, lr}\n"
        "ldm r3!, {r4-r7}\n"
        "lsls r2, r2, #2\n"
        "adds r2, r2, r0\n"
        "mov r12, r2\n"
        "1:\n"
        "ef_dot_tap 0\n"
        "ef_dot_tap 1\n"
        "ef_dot_tap 2\n"
        "ef_dot_tap 3\n"
        "adds r0, r0, #4\n"
        "adds r1, r1, #16\n"
        "cmp r0, r12\n"
        "bne 1b\n"
        "pop {r3}\n"
        "stm r3!, {r4-r7}\n"
        "pop {r4-r7, pc}\n"
        ".purgem ef_dot_channel\n"
        ".purgem ef_dot_tap\n");
}
#else
static void dot_fours(const uint8_t *x, const uint8_t *w, uint32_t fours, int32_t *acc)
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    int32_t acc2 = acc[2];
    int32_t acc3 = acc[3];
    for (; fours != 0; fours--) {
        for (uint32_t k = 0; k < 4; k++) {
            acc0 += x[k] * w[BLOCK * k];
            acc1 += x[k] * w[BLOCK * k + 1];
            acc2 += x[k] * w[BLOCK * k + 2];
            acc3 += x[k] * w[BLOCK * k + 3];
        }
        x += 4;
        w += 4 * BLOCK;
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}
#endif

static void dot_block(const uint8_t *x, const uint8_t *w, uint32_t k, int32_t *acc)
{
    for (uint32_t c = 0; c < BLOCK; c++) {
        acc[c] = 0;
    }
    for (uint32_t rest = k % 4; rest != 0; rest--) {
        for (uint32_t c = 0; c < BLOCK; c++) {
            acc[c] += *x * w[c];
        }
        x++;
        w += BLOCK;
    }
    if (k >= 4) {
        dot_fours(x, w, k / 4, acc);
    }
}

/* Bias, requantization and clamp of `count` output channels from oc on. */
static void finish_block(const ef_conv2d_args *a, uint32_t oc, uint32_t count, const int32_t *acc,
                         int32_t offset, int8_t *out)
{
    const int32_t *bias = a->bias + oc;
    const int32_t *multiplier = a->multiplier + oc;
    const int8_t *shift = a->shift + oc;
    const int32_t zero_point = a->out_zero_point;
    const int32_t low = a->clamp_min;
    const int32_t high = a->clamp_max;
    for (int8_t *end = out + count; out != end; out++) {
        const int32_t scaled = ef_requantize(*bias++ + *acc++ - offset, *multiplier++, *shift++);
        *out = ef_clamp_s8(scaled + zero_point, low, high);
    }
}

void ef_conv2d_s8(const ef_conv2d_args *a, const int8_t *in, int8_t *out, void *scratch)
{
    const ef_weights *weights = &a->weights;
    const uint32_t group_in_c = (uint32_t)a->in_c / a->groups;
    const uint32_t group_out_c = (uint32_t)a->out_c / a->groups;
    const uint32_t k = (uint32_t)a->kernel_h * a->kernel_w * group_in_c;
    const uint32_t pixels = (uint32_t)a->out_h * a->out_w;
    const uint32_t blocks = (group_out_c + BLOCK - 1) / BLOCK;
    int32_t *sums = (int32_t *)(void *)((int8_t *)scratch + a->strip_offset);
    uint8_t *strip = (uint8_t *)(sums + a->strip_pixels);
    uint8_t *tile = (uint8_t *)scratch + a->tile_offset;

    if (weights->decoder != NULL && weights->decoder->prepare != NULL) {
        weights->decoder->prepare(weights, scratch);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += a->strip_pixels) {
        const uint32_t left = pixels - pixel;
        const uint32_t n = left < a->strip_pixels ? left : a->strip_pixels;
        for (uint32_t group = 0; group < a->groups; group++) {
            for (uint32_t p = 0; p < n; p++) {
                sums[p] = gather(a, in, pixel + p, group * group_in_c, strip + p * k);
            }
            for (uint32_t block = 0; block < blocks; block++) {
                const uint32_t first = (group * blocks + block) * k * BLOCK;
                const uint8_t *w = (const uint8_t *)weights->data + first;
                if (weights->decoder != NULL) {
                    weights->decoder->decode(weights, scratch, first, k * BLOCK, tile);
                    w = tile;
                }
                const uint32_t c0 = block * BLOCK;
                const uint32_t c_end = c0 + BLOCK < group_out_c ? c0 + BLOCK : group_out_c;
                for (uint32_t p = 0; p < n; p++) {
                    int8_t *target = out + (pixel + p) * a->out_c + group * group_out_c;
                    int32_t acc[BLOCK];
                    dot_block(strip + p * k, w, k, acc);
                    finish_block(a, group * group_out_c + c0, c_end - c0, acc, 128 * sums[p],
                                 target + c0);
                }
            }
        }
    }
}

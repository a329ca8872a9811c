#include "ef_wide.h"

#define EF_WINDOWS_FINISH       \
    "smlawb r9, r2, r4, r5\n"   \
    "smlawb r10, r3, r4, r5\n"  \
    "asr r9, r9, r6\n"          \
    "asr r10, r10, r6\n"        \
    "ssat r2, #16, r9\n"        \
    "ssat r3, #16, r10\n"       \
    "strh r3, [r8, r7]\n"       \
    "strh r2, [r8]\n"
#define EF_WINDOWS_STORE(channel, out, sum)                               \
    (*(int16_t *)(void *)(out) = ef_saturate_s16(                         \
         ef_scale_sum(sum, (channel)->multiplier, (channel)->shift + 16)))
#include "ef_plane_windows_loop.h"

void ef_plane_windows_s16_run(const ef_plane_windows *run, const int8_t *plane, int8_t *out)
{
    run_windows(run, plane, out);
}

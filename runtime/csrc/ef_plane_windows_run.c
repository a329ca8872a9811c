/* the odd output's step is 0: it is stored over its neighbour */
#define EF_WINDOWS_FINISH        \
    "smmlar r9, r2, r4, r5\n"    \
    "smmlar r10, r3, r4, r5\n"   \
    "add r2, r9, r2, asr #31\n"  \
    "add r3, r10, r3, asr #31\n" \
    "asr r2, r2, r6\n"           \
    "asr r3, r3, r6\n"           \
    "ssat r2, #8, r2\n"          \
    "ssat r3, #8, r3\n"          \
    "strb r3, [r8, r7]\n"        \
    "strb r2, [r8]\n"
#define EF_WINDOWS_STORE(channel, out, sum) (*(out) = ef_plane_requantize(channel, sum))
#include "ef_plane_windows_loop.h"

void ef_plane_windows_run(const ef_plane_windows *run, const int8_t *plane, int8_t *out)
{
    run_windows(run, plane, out);
}

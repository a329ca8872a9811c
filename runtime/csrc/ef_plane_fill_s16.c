#define EF_PLANE_VALUE(place) (*(const int16_t *)(const void *)(place))
#include "ef_plane_fill_loop.h"

void ef_plane_fill_s16(const ef_plane_source *source, const int8_t *in, int8_t *plane)
{
    ef_plane_fill_lines(source, in, plane);
}

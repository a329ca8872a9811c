#define EF_PLANE_VALUE(place) (*(place))
#include "ef_plane_fill_loop.h"

void ef_plane_fill(const ef_plane_source *source, const int8_t *in, int8_t *plane)
{
    ef_plane_fill_lines(source, in, plane);
}

#define EF_PLANE_FILL ef_plane_fill_s16
#define EF_PLANE_VALUE(place) (*(const int16_t *)(const void *)(place))
#include "ef_plane_fill_loop.h"

#define EF_PLANE_FILL ef_plane_fill
#define EF_PLANE_VALUE(place) (*(place))
#include "ef_plane_fill_loop.h"

/* The body of ef_plane_fill and ef_plane_fill_s16. Define EF_PLANE_VALUE(place), the element there,
 * before including this; without it this is empty. */
#ifdef EF_PLANE_VALUE

#include "ef_plane.h"
#include "ef_simd.h"

static inline void ef_plane_fill_lines(const ef_plane_source *source, const int8_t *in,
                                       int8_t *plane)
{
    const int32_t in_step = source->in_step;
    const int32_t step = source->word_step;
    plane += source->first;
    for (uint32_t lines = source->lines; lines != 0; lines--) {
        const int8_t *x = in;
        int8_t *to = plane;
        if (source->starts_odd) {
            ef_store_word(to, ef_pack(source->padding, EF_PLANE_VALUE(x)));
            x += in_step;
            to += step;
        }
        for (uint32_t fours = source->pairs / 2; fours != 0; fours--) {
            const int32_t x0 = EF_PLANE_VALUE(x);
            const int32_t x1 = EF_PLANE_VALUE(x + in_step);
            const int32_t x2 = EF_PLANE_VALUE(x + 2 * in_step);
            const int32_t x3 = EF_PLANE_VALUE(x + 3 * in_step);
            ef_store_word(to, ef_pack(x0, x1));
            ef_store_word(to + step, ef_pack(x2, x3));
            x += 4 * in_step;
            to += 2 * step;
        }
        if (source->pairs % 2 != 0) {
            const int32_t x0 = EF_PLANE_VALUE(x);
            ef_store_word(to, ef_pack(x0, EF_PLANE_VALUE(x + in_step)));
            x += 2 * in_step;
            to += step;
        }
        if (source->ends_odd) {
            ef_store_word(to, ef_pack(EF_PLANE_VALUE(x), source->padding));
        }
        in += source->in_line_step;
        plane += source->line_step;
    }
}

#endif

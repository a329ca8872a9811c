/* Rows of a constant table by computed indices: embeddings. */
#ifndef EF_EMBED_H
#define EF_EMBED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ef_embed_args {
    uint32_t count; /* indices */
    uint32_t row;   /* bytes of a row */
    int32_t offset; /* added to a code to give the index */
    int32_t last;   /* index of the last row; indices outside of the table are moved inside */
    const int8_t *table;
} ef_embed_args;

void ef_embed_s8(const ef_embed_args *a, const int8_t *in, int8_t *out);

/* The same for codes of 16 bits. */
void ef_embed_s16(const ef_embed_args *a, const int16_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif

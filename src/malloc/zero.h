/* Blocks of no bytes (zero.c). */
#ifndef STW_MALLOC_ZERO_H
#define STW_MALLOC_ZERO_H

#include "malloc/slab.h"

/* What the pagemap has for their addresses: no slab at all, owned by nobody. */
extern struct slab zero_slab;

/* A block of its own, aligned to CHUNK_ALIGN, with no byte that may be touched; NULL: no memory. */
void *zero_alloc(void);
/* mem lies in zero_slab. */
void zero_free(void *mem);
/* Aborts unless a block is at mem; `what` names it if there cannot be one. */
void zero_check(void *mem, const char *what);

#endif

/* Memory for what the allocator must know about blocks, kept apart from them. */
#ifndef STW_MALLOC_META_H
#define STW_MALLOC_META_H

#include <stddef.h>

#define META_ALIGN ((size_t)128)

/*
 * Zeroed, aligned to META_ALIGN, never given back, so that a stale pointer
 * into it still points to an object of its kind. NULL: no memory. Without a lock.
 */
void *meta_alloc(size_t bytes);

/* Bytes handed out, and mapped for it. */
size_t meta_bytes(size_t *mapped);

#endif

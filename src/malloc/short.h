/*
 * The short ways of malloc and free, for who exports them under some name: each name has its own copy, for a jump to a
 * common one is a tenth of the time of both. The long ways are in malloc.c.
 */
#ifndef STW_MALLOC_SHORT_H
#define STW_MALLOC_SHORT_H

#include <string.h>

#include "malloc/pagemap.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"

/* The thread's cache has no such block, or is not to be asked. As stw_malloc; align: a power of two, at least CHUNK_ALIGN. */
void *malloc_long(size_t bytes, size_t align, bool zeroed);
/* A block in a page of a slab that is another thread's, or nobody's, or not to take the short way. */
void free_slot(void *mem);
/* A block that is no slot; NULL: none. */
void free_chunk(void *mem);

static inline void *malloc_short(size_t bytes)
{
	if (likely(bytes <= SLOT_MAX)) {
		void *mem = tcache_pop(tcache_fast, slot_class(bytes));

		if (likely(mem != NULL))
			return mem;
	}
	return malloc_long(bytes, CHUNK_ALIGN, false);
}

static inline void *calloc_short(size_t n, size_t bytes)
{
	size_t total;

	if (unlikely(__builtin_mul_overflow(n, bytes, &total)))
		total = SIZE_MAX;
	if (likely(total <= SLOT_MAX)) {
		void *mem = tcache_pop(tcache_fast, slot_class(total));

		if (likely(mem != NULL))
			return memset(mem, 0, total);
	}
	return malloc_long(total, CHUNK_ALIGN, true);
}

static inline void free_short(void *mem)
{
	struct slab *s = pagemap_slab(mem);

	if (unlikely(s == NULL))
		free_chunk(mem);
	else if (likely(tcache_owns(tcache_fast, s)))
		tcache_push(tcache_fast, s, mem);
	else
		free_slot(mem);
}

static inline void free_sized_short(void *mem, size_t bytes)
{
	struct slab *s = pagemap_slab(mem);

	if (likely(s != NULL && tcache_owns(tcache_fast, s) && bytes <= SLOT_MAX && slot_class(bytes) == s->class))
		tcache_push(tcache_fast, s, mem);
	else
		stw_free_aligned_sized(mem, CHUNK_ALIGN, bytes);
}

#endif

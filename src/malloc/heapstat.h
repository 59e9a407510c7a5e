/* heapstat.c: the heap counted, for all who tell about it (stat.c, report.c). */
#ifndef STW_MALLOC_HEAPSTAT_H
#define STW_MALLOC_HEAPSTAT_H

#include "malloc/tcache.h"

struct class_stat {
	size_t slabs, slots;
	size_t free; /* slots in no cache and not in use */
};

/* A page of the top that nobody has touched counts neither as heap nor as free, else each heap would show its whole mapping. */
struct arena_stat {
	size_t bytes, bytes_max;        /* touched at some time; bytes_max: with the untouched ones */
	size_t free_bytes, free_chunks; /* in bins and top; free_bytes: in slabs too */
	size_t top;
	struct class_stat classes[NR_CLASSES];
};

struct heap_stat {
	unsigned arenas;
	struct arena_stat sum;          /* over the arenas; each has its own maximum */
	struct tcache_count caches;
	size_t mapped, mapped_bytes, mapped_max, mapped_bytes_max;
	size_t meta_bytes, meta_mapped; /* the allocator's own tables */
	size_t held_bytes;              /* arenas, mappings, tables */
	size_t used_bytes;              /* in blocks, with what they cost */
};

/* False: the arena's lock is not to be had. */
bool arena_stat(struct arena *a, struct arena_stat *s);
/* Arena after arena: what other threads do meanwhile may be in or not. */
void heap_stat(struct heap_stat *s);

/* Slots in use: neither free nor in a cache. */
size_t heap_slots_used(const struct heap_stat *s, unsigned class);

#endif

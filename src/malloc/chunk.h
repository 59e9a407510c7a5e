/*
 * Chunks and their boundary tags (Knuth, TAOCP 1, 2.5; Doug Lea's layout).
 *
 *    chunk ─► ┌──────────────────────────┐
 *             │ prev_size                │  size of the chunk before, only while that one is free;
 *             ├──────────────────────────┤  while it is in use these 8 bytes belong to its user
 *             │ head: size | flags       │
 *      mem ─► ├──────────────────────────┤
 *             │ fd, bk                   │  while free: neighbours in the bin
 *             │ fd_size, bk_size         │  while free, large and the first of its size: the next sizes
 *             │ purged_from, freed_at    │  while free and of some pages (chunk_inner): purge.c
 *             │ …                        │
 *     next ─► ├──────────────────────────┤
 *             │ prev_size (the footer)   │  last 8 bytes of the user, or the size of this free chunk
 *
 * So a block costs 8 bytes, sizes are multiples of 16, the smallest is 32.
 * Whether a chunk is free stands in the next chunk's head (PREV_INUSE).
 *
 * The head is read without the lock by whoever owns the block (free,
 * usable_size) while a neighbour may change its PREV_INUSE bit under the lock:
 * hence relaxed atomics. The size part does not change under the owner.
 *
 * A chunk that is a mapping of its own has the same two words with another
 * meaning: its extent, and a seal over it (mapped.c).
 */
#ifndef STW_MALLOC_CHUNK_H
#define STW_MALLOC_CHUNK_H

#include "base/types.h"

#define CHUNK_ALIGN ((size_t)16)
#define CHUNK_HEADER ((size_t)16) /* from chunk to mem */
#define CHUNK_OVERHEAD ((size_t)8) /* what a block in use costs */
#define CHUNK_MIN ((size_t)32)
#define PREV_INUSE ((size_t)1)
#define MMAPPED ((size_t)2) /* a mapping of its own: no neighbours, no bin */
#define SEALED ((size_t)4)  /* in use, with a trailer (secure.c) */
#define HEAD_FLAGS (CHUNK_ALIGN - 1)

/* The end of a segment: two heads that say "in use", so that nobody merges or walks past it. */
#define FENCE_SIZE ((size_t)32)

struct chunk {
	size_t prev_size;
	size_t head;
	struct chunk *fd, *bk;
	struct chunk *fd_size, *bk_size;
	uintptr_t purged_from;
	uint32_t freed_at;
};

static inline size_t chunk_head(const struct chunk *c) { return __atomic_load_n(&c->head, __ATOMIC_RELAXED); }
static inline void chunk_set_head(struct chunk *c, size_t head) { __atomic_store_n(&c->head, head, __ATOMIC_RELAXED); }
static inline size_t chunk_size(const struct chunk *c) { return chunk_head(c) & ~HEAD_FLAGS; }
static inline bool chunk_prev_inuse(const struct chunk *c) { return (chunk_head(c) & PREV_INUSE) != 0; }

static inline struct chunk *chunk_at(const struct chunk *c, size_t offset)
{
	return (struct chunk *)((uintptr_t)c + offset);
}

static inline struct chunk *chunk_next(const struct chunk *c) { return chunk_at(c, chunk_size(c)); }
static inline bool chunk_inuse(const struct chunk *c) { return chunk_prev_inuse(chunk_next(c)); }

static inline void *chunk_mem(const struct chunk *c) { return (void *)((uintptr_t)c + CHUNK_HEADER); }
static inline struct chunk *mem_chunk(const void *mem) { return (struct chunk *)((uintptr_t)mem - CHUNK_HEADER); }

/* The chunk size for a request of at most PTRDIFF_MAX bytes. */
static inline size_t chunk_request(size_t bytes)
{
	size_t size = ALIGN_UP(bytes + CHUNK_OVERHEAD, CHUNK_ALIGN);

	return MAX(size, CHUNK_MIN);
}

/* Of a mapping of its own: whole pages, its guard not included, and how far in the chunk begins. */
static inline size_t mapped_extent(const struct chunk *c) { return c->prev_size & PAGE_MASK; }
static inline size_t mapped_offset(const struct chunk *c) { return c->prev_size & ~PAGE_MASK & ~HEAD_FLAGS; }

/* Bytes its user may write. */
static inline size_t chunk_usable(const struct chunk *c)
{
	size_t head = chunk_head(c);

	if (unlikely((head & MMAPPED) != 0))
		return mapped_extent(c) - mapped_offset(c) - CHUNK_HEADER;
	return (head & ~HEAD_FLAGS) - CHUNK_OVERHEAD;
}

/* Whole pages [lo, hi); empty when lo == hi. */
struct range {
	uintptr_t lo, hi;
};

/*
 * The pages of a free chunk that hold neither its links nor a neighbour's
 * bytes; empty below two pages, for one page is not worth two calls.
 */
static inline struct range chunk_inner(const struct chunk *c, size_t size)
{
	struct range r = { ALIGN_UP((uintptr_t)c + sizeof(struct chunk), PAGE_SIZE),
			   ALIGN_DOWN((uintptr_t)c + size, PAGE_SIZE) };

	if (r.hi < r.lo + 2 * PAGE_SIZE)
		r = (struct range){ 0, 0 };
	return r;
}

#endif

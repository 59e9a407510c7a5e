/* The secure mode: what is done to blocks beyond allocating them (secure.c). */
#ifndef STW_MALLOC_SECURE_H
#define STW_MALLOC_SECURE_H

#include "malloc/tcache.h"

static inline bool secure_mode(void)
{
	return unlikely(atomic_load_explicit(&params.secure, memory_order_relaxed));
}

/* Slots of s have trailers; the others are from before. */
static inline bool secure_slab(const struct slab *s)
{
	const struct tcache *t = atomic_load_explicit(&s->owner, memory_order_relaxed);

	return secure_mode() && t != NULL && t->secure != NULL;
}

/* What a cache needs for it; NULL: no memory. */
struct secure *secure_new(void);
/* Gives back what waits in the quarantine of this thread's cache. */
void secure_flush(struct tcache *t);
/* A slot that was never handed out gets its trailer, and zeros. */
void secure_format(void *slot, size_t slot_bytes);
/* Another order for n slots that were taken in ascending order, the lowest on top. */
void secure_shuffle(struct tcache *t, void **slots, uint32_t n);

void *secure_alloc(size_t bytes, size_t align, bool zeroed);
/* room: of the slot, or of the chunk that is SEALED, trailer included. s: NULL for a chunk. */
void secure_free(struct slab *s, void *mem, size_t room);
/* The bytes that were asked for; aborts for a block that is free or was written beyond. */
size_t secure_requested(void *mem, size_t room);
/* In place; false: it does not fit, or too little. */
bool secure_resize(void *mem, size_t room, size_t bytes);

/* Below n; 0 for a thread without a cache. */
size_t secure_random(size_t n);
/* This mapping goes away or moves. */
void secure_forget_mapped(const struct chunk *c);
/* In the child after fork: nobody looks at a mapping here. */
void secure_fork_child(void);

/* malloc.c: a block without all this. */
void *malloc_plain(size_t bytes, size_t align, bool zeroed);
/* malloc.c: a block that is a mapping of its own, or NULL. */
void *malloc_mapped(size_t bytes, size_t align);

#endif

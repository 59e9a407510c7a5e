/*
 * Chunks of 8 to 64 KiB that their thread freed and has not given back yet:
 * what is asked for again soon needs no lock, no merging and no splitting.
 *
 * A cached chunk counts as in use below. Its first word is the mark of freed
 * memory: found at a free, it is a double free; changed at a malloc, somebody
 * wrote to a freed block.
 */
#include "malloc/count.h"
#include "malloc/tcache.h"

#define CACHED_BYTES ((size_t)256 << 10) /* that a thread may have in any case, */
#define CACHED_BYTES_MAX ((size_t)1 << 20) /* and if all threads that have a cache may have as many */
#define ARENA_SHIFT 4        /* they may be this part of their arena */
#define TRIES 3              /* chunks of a stack that are looked at */
#define SLACK_SHIFT 3        /* a chunk may be larger by an eighth */

static uintptr_t *word_of(struct chunk *c)
{
	return chunk_mem(c);
}

/* The chunk leaves the cache. */
static void unmark(struct tcache *t, struct chunk *c)
{
	if (unlikely(*word_of(c) != tcache_mark(t, word_of(c))))
		misuse("write to a freed block", word_of(c));
	*word_of(c) = 0;
	t->cached_bytes -= chunk_size(c);
}

/* SLOT_MAX ≤ size < CACHED_CHUNK_MAX. */
static struct chunk_stack *stack_of(struct tcache *t, size_t size)
{
	unsigned log = 63 - (unsigned)__builtin_clzll(size);

	return &t->stacks[(log - 13) * 4 + (size >> (log - 2) & 3)];
}

static bool is_cacheable(size_t size)
{
	return size >= SLOT_MAX && size < CACHED_CHUNK_MAX;
}

struct chunk *chunk_cache_get(struct tcache *t, size_t size, size_t align)
{
	struct chunk_stack *st;

	if (!is_cacheable(size))
		return NULL;
	st = stack_of(t, size);
	for (unsigned i = st->n; i-- > 0 && i + TRIES >= st->n;) {
		struct chunk *c = st->chunks[i];
		size_t has = chunk_size(c);

		if (has < size || has - size > size >> SLACK_SHIFT || ((uintptr_t)chunk_mem(c) & (align - 1)) != 0)
			continue;
		unmark(t, c);
		st->chunks[i] = st->chunks[--st->n];
		return c;
	}
	count_tell(&counts->cached, &t->told_bytes, t->cached_bytes);
	return NULL;
}

static void give_back(struct tcache *t, struct chunk_stack *st, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct chunk *c = st->chunks[i];
		uintptr_t end;

		unmark(t, c);
		arena_free_remote(arena_of(c, &end), c);
	}
	st->n -= n;
	for (unsigned i = 0; i < st->n; i++)
		st->chunks[i] = st->chunks[i + n];
	count_tell(&counts->cached, &t->told_bytes, t->cached_bytes);
}

/* Room for one more of this size: while there is too much, the older half of each stack goes. share: what may be in caches of the arena. */
static void make_room(struct tcache *t, size_t size, size_t share)
{
	size_t limit = MIN(share, MAX(CACHED_BYTES, MIN(share / tcache_busy(), CACHED_BYTES_MAX)));

	while (t->cached_bytes != 0 && t->cached_bytes + size > limit)
		for (unsigned i = 0; i < NR_CHUNK_STACKS; i++)
			give_back(t, &t->stacks[i], (t->stacks[i].n + 1) / 2);
}

bool chunk_cache_put(struct tcache *t, const struct arena *a, struct chunk *c)
{
	size_t size = chunk_size(c), share = atomic_load_explicit(&a->segment_bytes, memory_order_relaxed) >> ARENA_SHIFT;
	struct chunk_stack *st;

	if (!is_cacheable(size))
		return false;
	if (unlikely(*word_of(c) == tcache_mark(t, word_of(c))))
		misuse("double free", word_of(c));
	st = stack_of(t, size);
	if (size > share)
		return false;
	if (st->n == CHUNK_STACK_MAX)
		give_back(t, st, CHUNK_STACK_MAX / 2);
	if (t->cached_bytes + size > MIN(share, CACHED_BYTES))
		make_room(t, size, share);
	*word_of(c) = tcache_mark(t, word_of(c));
	st->chunks[st->n++] = c;
	t->cached_bytes += size;
	return true;
}

bool chunk_cache_flush(struct tcache *t)
{
	bool any = t->cached_bytes != 0;

	for (unsigned i = 0; i < NR_CHUNK_STACKS; i++)
		give_back(t, &t->stacks[i], t->stacks[i].n);
	return any;
}

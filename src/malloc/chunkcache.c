/*
 * Chunks of 8 to 64 KiB that their thread freed and has not given back yet:
 * what is asked for again soon needs no lock, no merging and no splitting.
 *
 * A cached chunk counts as in use below. Its first word is the mark of freed
 * memory: found at a free, it is a double free; changed at a malloc, or its size
 * changed, somebody wrote to a freed block.
 */
#include "malloc/count.h"
#include "malloc/tcache.h"

#define CACHED_BYTES ((size_t)256 << 10) /* that a thread may have in any case, */
#define CACHED_BYTES_MAX ((size_t)2 << 20) /* and if all threads that have a cache may have as many */
#define ARENA_SHIFT 3        /* they may be this part of their arena */
#define SLACK_SHIFT 3        /* a chunk may be larger by an eighth */

static uintptr_t *word_of(struct chunk *c)
{
	return chunk_mem(c);
}

/* It leaves the cache. */
static struct chunk *unmark(struct tcache *t, struct cached_chunk cached)
{
	uintptr_t *word = word_of(cached.chunk);

	if (unlikely(*word != tcache_mark(t, word) || chunk_size(cached.chunk) != cached.size))
		misuse("write to a freed block", word);
	*word = 0;
	t->cached_bytes -= cached.size;
	return cached.chunk;
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

/* The smallest that fits; of several the one that came last. */
struct chunk *chunk_cache_get(struct tcache *t, size_t size, size_t align)
{
	struct cached_chunk *best = NULL, found;
	size_t most = size + (size >> SLACK_SHIFT);
	struct chunk_stack *st;

	if (!is_cacheable(size))
		return NULL;
	st = stack_of(t, size);
	for (struct cached_chunk *c = st->chunks; c < st->chunks + st->n; c++) {
		if (c->size < size || c->size > most || ((uintptr_t)chunk_mem(c->chunk) & (align - 1)) != 0)
			continue;
		best = c;
		most = c->size;
	}
	if (best == NULL) {
		count_tell(&counts->cached, &t->told_bytes, t->cached_bytes);
		return NULL;
	}
	found = *best;
	*best = st->chunks[--st->n];
	return unmark(t, found);
}

static void give_back(struct tcache *t, struct chunk_stack *st, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct chunk *c = unmark(t, st->chunks[i]);
		uintptr_t end;

		arena_free_remote(arena_of(c, &end), c);
	}
	st->n -= n;
	for (unsigned i = 0; i < st->n; i++)
		st->chunks[i] = st->chunks[i + n];
	count_tell(&counts->cached, &t->told_bytes, t->cached_bytes);
}

/* Room for one more of this size: while there is too much, the older half of a stack goes, of each in turn. share: what may be in caches of the arena. */
static void make_room(struct tcache *t, size_t size, size_t share)
{
	size_t part = share / tcache_busy(), limit = MIN(share, MAX(CACHED_BYTES, MIN(part, CACHED_BYTES_MAX)));

	while (t->cached_bytes != 0 && t->cached_bytes + size > limit) {
		struct chunk_stack *st = &t->stacks[t->next_shorter];

		give_back(t, st, (st->n + 1) / 2);
		t->next_shorter = (t->next_shorter + 1) % NR_CHUNK_STACKS;
	}
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
	st->chunks[st->n++] = (struct cached_chunk){ c, size };
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

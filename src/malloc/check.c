/* The heap checker: executes the laws in arena.h, chunk by chunk. */
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/tcache.h"

struct census {
	size_t chunks, bytes; /* free */
};

/* Law 1 for a free chunk, which the walk reached. */
static void check_free_chunk(const struct chunk *c, size_t size)
{
	ASSERT(chunk_prev_inuse(c));
	ASSERT(size >= CHUNK_MIN);
	ASSERT(chunk_at(c, size)->prev_size == size);
	ASSERT(c->fd->bk == c && c->bk->fd == c);
}

static void check_segment(struct arena *a, const struct segment *s, struct census *seen)
{
	struct chunk *c = s->first;
	uintptr_t stop = s == a->current ? (uintptr_t)a->top : s->end - CHUNK_ALIGN;

	ASSERT(s->arena == a && s->end % PAGE_SIZE == 0);
	ASSERT(chunk_prev_inuse(c));
	while ((uintptr_t)c < stop) {
		size_t size = chunk_size(c);

		/* The first head of a fence is the only one that may be shorter than a chunk. */
		ASSERT(size >= CHUNK_MIN || (uintptr_t)c + size == s->end - CHUNK_ALIGN);
		ASSERT(size <= stop - (uintptr_t)c);
		if (!chunk_inuse(c)) {
			check_free_chunk(c, size);
			seen->chunks++;
			seen->bytes += size;
		}
		c = chunk_at(c, size);
	}
	ASSERT((uintptr_t)c == stop);
	ASSERT(chunk_prev_inuse(c));
	if (s != a->current)
		ASSERT(chunk_size(c) == CHUNK_ALIGN);
}

/* Law 3: the ring has each size of the list once, in order. */
static void check_large_bin(struct chunk *bin)
{
	struct chunk *leader = bin->fd;

	if (leader == bin)
		return;
	ASSERT(leader->fd_size != NULL && leader->bk_size->fd_size == leader);
	for (struct chunk *c = leader->fd; c != bin; c = c->fd) {
		ASSERT(chunk_size(c) <= chunk_size(leader));
		if (chunk_size(c) == chunk_size(leader)) {
			ASSERT(c->fd_size == NULL);
			continue;
		}
		ASSERT(leader->fd_size == c && c->bk_size == leader);
		leader = c;
	}
	ASSERT(leader->fd_size == bin->fd);
}

static void check_bin(struct arena *a, unsigned index, struct census *seen)
{
	struct chunk *bin = bin_head(a, index);

	for (struct chunk *c = bin->fd; c != bin; c = c->fd) {
		size_t size = chunk_size(c);

		ASSERT(c->fd->bk == c && c->bk->fd == c);
		ASSERT(!chunk_inuse(c));
		ASSERT(index == BIN_UNSORTED || bin_index(size) == index);
		seen->chunks++;
		seen->bytes += size;
	}
	if (index >= BIN_LARGE_FIRST)
		check_large_bin(bin);
	if (index != BIN_UNSORTED && bin->fd != bin)
		ASSERT((a->binmap[index / 64] >> index % 64 & 1) != 0);
}

/* Laws 5 and 6. */
static void check_top(const struct arena *a)
{
	if (a->top == NULL) {
		ASSERT(a->current == NULL && a->top_fresh == 0);
		return;
	}
	ASSERT(a->top_end == a->current->end);
	ASSERT((uintptr_t)a->top + chunk_size(a->top) == a->top_end);
	ASSERT(chunk_size(a->top) >= CHUNK_MIN);
	ASSERT(chunk_prev_inuse(a->top));
	ASSERT(a->top_dead % PAGE_SIZE == 0 && a->top_fresh % PAGE_SIZE == 0);
	ASSERT((uintptr_t)a->top + CHUNK_HEADER <= a->top_dead);
	ASSERT(a->top_dead <= a->top_fresh && a->top_fresh <= a->top_end);
}

static void check_dissolved(void *nr_dissolved, struct slab *s)
{
	if (!slab_is_dissolved(s))
		return;
	slab_check_dissolved(s);
	++*(size_t *)nr_dissolved;
}

void arena_check(struct arena *a)
{
	struct census walked = { 0, 0 }, binned = { 0, 0 };
	size_t bytes = 0, nr_dissolved = 0;

	check_top(a);
	for (const struct segment *s = a->segments; s != NULL; s = s->next) {
		check_segment(a, s, &walked);
		bytes += s->end - ALIGN_DOWN((uintptr_t)s, CHUNK_ALIGN);
	}
	for (unsigned i = BIN_UNSORTED; i <= BIN_LAST && a->ready; i++)
		check_bin(a, i, &binned);
	ASSERT(walked.chunks == binned.chunks && walked.bytes == binned.bytes);
	ASSERT(a->free_chunks == binned.chunks && a->free_bytes == binned.bytes);
	ASSERT(a->segment_bytes == bytes);
	slab_each(a, check_dissolved, &nr_dissolved);
	ASSERT(a->dissolved == nr_dissolved);
}

void malloc_check(void)
{
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_lock(a))
			continue;
		arena_check(a);
		arena_unlock(a);
	}
	tcache_check();
}

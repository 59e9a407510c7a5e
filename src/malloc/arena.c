/*
 * Allocate and free inside one arena, whose lock the caller holds.
 *
 * From request to memory, in order:
 *
 *   1  round up to a chunk size, at least 32                            (chunk_request)
 *   2  small: the bin of exactly this size
 *   3  the unsorted bin, oldest first: cut the last remainder for a small request if it is alone,
 *      take an exact fit, sort the others into their bins
 *   4  large: the smallest fitting chunk of its own bin
 *   5  the smallest chunk of the next non-empty bin, found through binmap; the rest becomes
 *      the last remainder and goes to the unsorted bin
 *   6  the top
 *   7  at or above the threshold: a mapping of its own                  (mapped.c)
 *   8  grow the top by brk or by a heap                                 (segment.c)
 *
 * Free merges with free neighbours at once, into the top if it is next to it,
 * else into the unsorted bin. Best fit with immediate merging is what keeps
 * memory tight when sizes shift; the price is lines touched per call, which a
 * cache in front pays back.
 *
 * Cost: step 3 sorts at most SORT_MAX chunks per call; all else is bounded by
 * the number of bins, but for the walk over the sizes of one large bin.
 *
 * Checks: every size and link that comes from the heap is compared with a
 * second witness before it is used (footer, neighbour, list partner, the
 * segment's bounds, which are kept apart from the blocks).
 */
#include <string.h>

#include "malloc/arena.h"

#define SORT_MAX 10000
#define PAGES_TRIES 16
#define TRIM_CHECK_SIZE ((size_t)64 << 10) /* a merged chunk of this size looks whether the top is worth trimming */

/* Since when a free chunk is free, and from where on its pages have gone back (purge.c). */
struct age {
	uint32_t freed_at;
	uintptr_t purged_from; /* 0: nowhere */
};

static struct age age_of(const struct chunk *c, size_t size)
{
	if (chunk_inner(c, size).hi == 0)
		return (struct age){ purge_ticks(), 0 };
	return (struct age){ c->freed_at, c->purged_from };
}

static void age_set(struct chunk *c, size_t size, struct age age)
{
	if (chunk_inner(c, size).hi == 0)
		return;
	c->freed_at = age.freed_at;
	c->purged_from = age.purged_from;
}

/* c is in no bin, its size is `size`; the caller gets the first `want` bytes, a remainder of at least CHUNK_MIN is binned. */
static struct chunk *take(struct arena *a, struct chunk *c, size_t size, size_t want, bool is_last_remainder)
{
	size_t rest = size - want;
	struct age age = age_of(c, size);

	if (rest < CHUNK_MIN) {
		struct chunk *next = chunk_at(c, size);

		dead_split(c, size, size);
		chunk_set_head(next, chunk_head(next) | PREV_INUSE);
		return c;
	}
	dead_split(c, size, want);

	struct chunk *remainder = chunk_at(c, want);

	chunk_set_head(remainder, rest | PREV_INUSE);
	chunk_at(remainder, rest)->prev_size = rest;
	age_set(remainder, rest, age);
	bin_insert_unsorted(a, remainder, rest);
	if (is_last_remainder)
		a->last_remainder = remainder;
	chunk_set_head(c, want | PREV_INUSE);
	return c;
}

/* Step 2. */
static struct chunk *alloc_exact(struct arena *a, size_t want)
{
	struct chunk *bin = bin_head(a, bin_index(want)), *c = bin->bk;

	if (want >= SMALL_LIMIT || c == bin)
		return NULL;
	if (unlikely(chunk_size(c) != want))
		misuse("invalid size in the free list", c);
	bin_remove(a, c);
	return take(a, c, want, want, false);
}

/* Step 3. NULL: the bin is sorted out and had no exact fit. */
static struct chunk *alloc_unsorted(struct arena *a, size_t want)
{
	struct chunk *bin = bin_head(a, BIN_UNSORTED), *c;

	for (unsigned i = 0; i < SORT_MAX && (c = bin->bk) != bin; i++) {
		size_t size = chunk_size(c);

		if (unlikely(size < CHUNK_MIN || size > a->segment_bytes))
			misuse("invalid size in the free list", c);

		bool only_remainder = want < SMALL_LIMIT && c == a->last_remainder && c->bk == bin &&
				      size >= want + CHUNK_MIN;

		bin_remove(a, c);
		if (only_remainder || size == want)
			return take(a, c, size, want, true);
		bin_insert(a, c, size);
	}
	return NULL;
}

/* Steps 4 and 5, of chunks of at most `most` bytes. */
static struct chunk *alloc_best_fit(struct arena *a, size_t want, size_t most)
{
	unsigned index = bin_index(want);
	struct chunk *c = NULL;

	if (want >= SMALL_LIMIT)
		c = bin_best_fit(a, index, want);
	if (c == NULL) {
		index = bin_next_used(a, index + 1);
		if (index == 0)
			return NULL;
		c = bin_head(a, index)->bk;
		if (unlikely(chunk_size(c) < want))
			misuse("invalid size in the free list", c);
	}

	size_t size = chunk_size(c);

	if (size > most)
		return NULL;
	bin_remove(a, c);
	return take(a, c, size, want, want < SMALL_LIMIT);
}

static size_t top_size(struct arena *a)
{
	if (a->top == NULL)
		return 0;

	size_t size = chunk_size(a->top);

	if (unlikely((uintptr_t)a->top + size != a->top_end))
		misuse("corrupted top size", a->top);
	return size;
}

/* The top begins `bytes` higher; what was below belongs to the caller. Its head is not touched. */
static void top_advance(struct arena *a, size_t size, size_t bytes)
{
	struct chunk *top = chunk_at(a->top, bytes);

	dead_top_raise(a, (uintptr_t)top + CHUNK_HEADER);
	chunk_set_head(top, (size - bytes) | PREV_INUSE);
	a->top = top;
}

/* Step 6. */
static struct chunk *alloc_top(struct arena *a, size_t want, uintptr_t *fresh)
{
	size_t size = top_size(a);
	struct chunk *c = a->top;

	if (size < want + CHUNK_MIN)
		return NULL;
	*fresh = a->top_fresh;
	top_advance(a, size, want);
	chunk_set_head(c, want | PREV_INUSE);
	return c;
}

struct chunk *arena_alloc(struct arena *a, size_t size, uintptr_t *fresh)
{
	struct chunk *c = alloc_exact(a, size);

	*fresh = UINTPTR_MAX;
	if (c == NULL)
		c = alloc_unsorted(a, size);
	if (c == NULL)
		c = alloc_best_fit(a, size, SIZE_MAX);
	if (c == NULL)
		c = alloc_top(a, size, fresh);
	return c;
}

/* The first bytes of c that are not for a block on a page. */
static size_t lead_to_page(const struct chunk *c)
{
	size_t lead = ALIGN_UP((uintptr_t)chunk_mem(c), PAGE_SIZE) - (uintptr_t)chunk_mem(c);

	/* The gap must be able to be a chunk. */
	return lead != 0 && lead < CHUNK_MIN ? lead + PAGE_SIZE : lead;
}

/*
 * The smallest chunk of a bin that has `size` bytes from a page on; NULL: none. Looks at PAGES_TRIES chunks: where all
 * are slabs that were, the first is good.
 */
static struct chunk *best_fit_paged(struct arena *a, unsigned index, size_t size)
{
	struct chunk *bin = bin_head(a, index), *c = bin_best_fit(a, index, size);

	for (unsigned i = 0; i < PAGES_TRIES && c != NULL && c != bin; i++, c = c->bk)
		if (chunk_size(c) >= size + lead_to_page(c))
			return c;
	return NULL;
}

/* All of the unsorted bin goes to the bins of its sizes. */
static void sort_unsorted(struct arena *a)
{
	struct chunk *bin = bin_head(a, BIN_UNSORTED), *c;

	for (unsigned i = 0; i < SORT_MAX && (c = bin->bk) != bin; i++) {
		size_t size = chunk_size(c);

		bin_remove(a, c);
		bin_insert(a, c, size);
	}
}

struct chunk *arena_alloc_pages(struct arena *a, size_t pages)
{
	size_t size = pages * PAGE_SIZE;
	struct chunk *c = NULL;
	uintptr_t fresh;

	sort_unsorted(a);
	for (unsigned index = bin_next_used(a, bin_index(size)); index != 0 && c == NULL;
	     index = index < BIN_LAST ? bin_next_used(a, index + 1) : 0)
		c = best_fit_paged(a, index, size);
	if (c != NULL) {
		size_t whole = chunk_size(c);

		bin_remove(a, c);
		c = take(a, c, whole, size + lead_to_page(c), false);
	} else {
		if (a->top == NULL && !arena_grow(a, size + PAGE_SIZE + CHUNK_MIN))
			return NULL;
		c = alloc_top(a, size + lead_to_page(a->top), &fresh);
		if (c == NULL && arena_grow(a, size + PAGE_SIZE + CHUNK_MIN))
			c = alloc_top(a, size + lead_to_page(a->top), &fresh);
	}
	return c != NULL ? arena_align(a, c, PAGE_SIZE, size) : NULL;
}

struct chunk *arena_alloc_hole(struct arena *a, size_t size)
{
	struct chunk *c = alloc_exact(a, size);

	if (c != NULL)
		return c;
	sort_unsorted(a);
	return alloc_best_fit(a, size, 2 * PAGE_SIZE);
}

/* What a chunk that is about to be freed must look like. limit: nothing of its segment lies beyond. */
static void check_free(struct arena *a, struct chunk *c, uintptr_t limit)
{
	size_t size = chunk_size(c);

	if (unlikely(size < CHUNK_MIN || (chunk_head(c) & HEAD_FLAGS & ~PREV_INUSE) != 0 ||
		     size > limit - (uintptr_t)c))
		misuse("free of an invalid pointer or a block with a corrupted size", chunk_mem(c));
	if (unlikely(c >= a->top && (uintptr_t)c < a->top_end))
		misuse("double free", chunk_mem(c));

	struct chunk *next = chunk_next(c);

	if (unlikely((uintptr_t)next > limit - CHUNK_HEADER))
		misuse("free of a block with a corrupted size", chunk_mem(c));
	if (unlikely(!chunk_prev_inuse(next)))
		misuse("double free", chunk_mem(c));
	/* The head after next is read too, but for the top, which has none. */
	if (unlikely(next != a->top && (chunk_size(next) < CHUNK_ALIGN ||
					chunk_size(next) > limit - (uintptr_t)next - CHUNK_HEADER)))
		misuse("corrupted size of the next block", chunk_mem(c));
}

/* The free chunk before c, out of its bin. */
static struct chunk *take_prev(struct arena *a, struct chunk *c)
{
	struct chunk *prev = (struct chunk *)((uintptr_t)c - c->prev_size);

	if (unlikely(c->prev_size < CHUNK_MIN || c->prev_size % CHUNK_ALIGN != 0 || c->prev_size > a->segment_bytes ||
		     chunk_size(prev) != c->prev_size))
		misuse("corrupted size vs. previous size", chunk_mem(c));
	bin_remove(a, prev);
	return prev;
}

void arena_free(struct arena *a, struct chunk *c)
{
	uintptr_t limit;

	if (unlikely(arena_of(c, &limit) != a))
		misuse("free of an invalid pointer", chunk_mem(c));
	check_free(a, c, limit);

	uint8_t perturb = atomic_load_explicit(&params.perturb, memory_order_relaxed);

	if (unlikely(perturb != 0))
		memset(chunk_mem(c), perturb, chunk_usable(c));

	struct chunk *next = chunk_next(c), *merged = c;
	size_t size = chunk_size(c), next_size = chunk_size(next), largest = size;
	struct range below = { 0, 0 }, above = { 0, 0 };
	struct age age = { purge_ticks(), 0 };

	if (!chunk_prev_inuse(c)) {
		merged = take_prev(a, c);
		below = chunk_inner(merged, c->prev_size);
		size += c->prev_size;
		if (c->prev_size > largest) {
			largest = c->prev_size;
			age.freed_at = age_of(merged, largest).freed_at;
		}
	}
	if (next == a->top) {
		size += top_size(a);
		chunk_set_head(next, CHUNK_ALIGN); /* a stale head must not vouch for c */
		chunk_set_head(merged, size | PREV_INUSE);
		a->top = merged;
		dead_top_lowered(a, below);
	} else {
		if (!chunk_inuse(next)) {
			bin_remove(a, next);
			above = chunk_inner(next, next_size);
			size += next_size;
			if (next_size > largest)
				age.freed_at = age_of(next, next_size).freed_at;
			age.purged_from = age_of(next, next_size).purged_from;
		}
		/* Also when next is merged: a second free of c must find it so. */
		chunk_set_head(next, chunk_head(next) & ~PREV_INUSE);
		chunk_set_head(merged, size | PREV_INUSE);
		chunk_at(merged, size)->prev_size = size;
		dead_merge(chunk_inner(merged, size), below, above);
		if (segment_release_if_empty(a, merged, size))
			return;
		age_set(merged, size, age);
		bin_insert_unsorted(a, merged, size);
	}
	if (size >= TRIM_CHECK_SIZE && !purge_is_on() && a->top_fresh - (uintptr_t)a->top >= param_get(&params.trim_threshold))
		arena_trim(a, param_get(&params.top_pad));
}

void arena_shrink(struct arena *a, struct chunk *c, size_t size)
{
	size_t rest = chunk_size(c) - size;

	if (rest < CHUNK_MIN)
		return;

	struct chunk *tail = chunk_at(c, size);

	chunk_set_head(tail, rest | PREV_INUSE);
	chunk_set_head(c, size | (chunk_head(c) & HEAD_FLAGS));
	arena_free(a, tail);
}

static bool expand_into_top(struct arena *a, struct chunk *c, size_t old, size_t size)
{
	/* Beyond the threshold a mapping serves better: it moves without a copy. */
	if (top_size(a) < size - old + CHUNK_MIN &&
	    (size >= param_get(&params.mmap_threshold) || !arena_grow(a, size - old) || chunk_at(c, old) != a->top))
		return false;
	top_advance(a, top_size(a), size - old);
	chunk_set_head(c, size | (chunk_head(c) & HEAD_FLAGS));
	return true;
}

bool arena_expand(struct arena *a, struct chunk *c, size_t size)
{
	size_t old = chunk_size(c);
	struct chunk *next = chunk_at(c, old);
	uintptr_t limit;

	if (unlikely(arena_of(c, &limit) != a))
		misuse("realloc of an invalid pointer", chunk_mem(c));
	check_free(a, c, limit);
	if (next == a->top)
		return expand_into_top(a, c, old, size);
	if (chunk_inuse(next) || old + chunk_size(next) < size)
		return false;

	size_t next_size = chunk_size(next);

	if (old + next_size - size < CHUNK_MIN)
		size = old + next_size;
	bin_remove(a, next);
	take(a, next, next_size, size - old, false);
	chunk_set_head(c, size | (chunk_head(c) & HEAD_FLAGS));
	return true;
}

struct chunk *arena_align(struct arena *a, struct chunk *c, size_t align, size_t size)
{
	uintptr_t mem = ALIGN_UP((uintptr_t)chunk_mem(c), align);
	size_t lead = mem - (uintptr_t)chunk_mem(c);

	/* The gap in front must be able to be a chunk. */
	if (lead != 0 && lead < CHUNK_MIN)
		lead += align;
	if (lead != 0) {
		struct chunk *aligned = chunk_at(c, lead);

		chunk_set_head(aligned, (chunk_size(c) - lead) | PREV_INUSE);
		chunk_set_head(c, lead | (chunk_head(c) & HEAD_FLAGS));
		arena_free(a, c);
		c = aligned;
	}
	arena_shrink(a, c, size);
	return c;
}

/*
 * Segments: where an arena's chunks come from.
 *
 * The main arena grows by brk. As long as nobody else moves the break, its
 * segment grows in place; else a new one begins and the old top is retired:
 * closed by a fence and freed like any chunk.
 *
 * All other arenas, and the main arena when brk fails, live in heaps: mappings
 * of HEAP_SIZE, aligned to it. A heap is mapped whole and becomes the top at
 * once; untouched pages cost nothing. A heap that is one free chunk and not in
 * use as top goes back to the source.
 *
 * Which addresses are heaps stands in a bitmap outside of them, one bit for
 * each HEAP_SIZE of address space, so that no pointer from a program is
 * followed before it is known to point into a heap.
 *
 * glibc's ptmalloc (Gloger) for the heaps; the bitmap replaces its flag in the
 * chunk's head.
 */
#include "malloc/arena.h"

#define ADDRESS_BITS 47
#define NR_HEAPS ((size_t)1 << ADDRESS_BITS >> 25)
_Static_assert(HEAP_SIZE == (size_t)1 << 25, "the shift above");

static _Atomic uint64_t heap_bits[NR_HEAPS / 64];

static bool heap_known(uintptr_t addr)
{
	size_t i = addr / HEAP_SIZE;

	return i < NR_HEAPS && (atomic_load_explicit(&heap_bits[i / 64], memory_order_acquire) >> i % 64 & 1) != 0;
}

static void heap_flip(const void *heap)
{
	size_t i = (uintptr_t)heap / HEAP_SIZE;

	atomic_fetch_xor(&heap_bits[i / 64], (uint64_t)1 << i % 64);
}

static struct segment *heap_of(const void *p)
{
	return (struct segment *)ALIGN_DOWN((uintptr_t)p, HEAP_SIZE);
}

struct arena *arena_of(const struct chunk *c, uintptr_t *end)
{
	uintptr_t addr = (uintptr_t)c;

	if (heap_known(addr)) {
		struct segment *s = heap_of(c);

		*end = s->end;
		return c >= s->first ? s->arena : NULL;
	}
	*end = atomic_load_explicit(&main_arena.brk_hi, memory_order_relaxed);
	if (addr < *end && addr >= atomic_load_explicit(&main_arena.brk_lo, memory_order_relaxed))
		return &main_arena;
	return NULL;
}

/* Closes the current segment: its top becomes an ordinary free chunk before a fence. */
static void top_retire(struct arena *a)
{
	struct chunk *c = a->top;

	if (c == NULL)
		return;

	size_t size = a->top_end - (uintptr_t)c, rest = size - FENCE_SIZE;

	dead_revive((struct range){ a->top_dead, a->top_fresh });
	a->top = NULL;
	a->top_end = a->top_dead = a->top_fresh = 0;
	a->current = NULL;
	chunk_set_head(chunk_at(c, size - CHUNK_ALIGN), CHUNK_ALIGN | PREV_INUSE);
	if (rest < CHUNK_MIN) {
		chunk_set_head(c, (size - CHUNK_ALIGN) | PREV_INUSE);
		return;
	}
	chunk_set_head(chunk_at(c, rest), CHUNK_ALIGN | PREV_INUSE);
	chunk_set_head(c, rest | PREV_INUSE);
	arena_free(a, c);
}

/* [lo, hi) is the arena's new current segment; its chunks begin `offset` bytes in. */
static void segment_install(struct arena *a, uintptr_t lo, uintptr_t hi, size_t offset)
{
	struct segment *s = (struct segment *)lo;

	top_retire(a);
	s->arena = a;
	s->first = (struct chunk *)(lo + ALIGN_UP(offset, CHUNK_ALIGN));
	s->end = hi;
	s->next = a->segments;
	a->segments = a->current = s;
	a->segment_bytes += hi - lo;
	a->segment_bytes_max = MAX(a->segment_bytes_max, a->segment_bytes);
	a->top = s->first;
	a->top_end = hi;
	a->top_dead = a->top_fresh = ALIGN_UP((uintptr_t)a->top + CHUNK_HEADER, PAGE_SIZE);
	chunk_set_head(a->top, (hi - (uintptr_t)a->top) | PREV_INUSE);
}

/* The source continued the current segment by bytes. */
static void segment_extend(struct arena *a, size_t bytes)
{
	a->current->end += bytes;
	a->top_end += bytes;
	a->segment_bytes += bytes;
	a->segment_bytes_max = MAX(a->segment_bytes_max, a->segment_bytes);
	chunk_set_head(a->top, chunk_head(a->top) + bytes);
}

static uintptr_t brk_extend(size_t bytes)
{
	return bytes <= PTRDIFF_MAX ? (uintptr_t)source()->extend((intptr_t)bytes) : (uintptr_t)-1;
}

/* A new brk segment begins at lo; its end must be a page's and leave room for `need` bytes of chunks. */
static bool brk_begin(struct arena *a, uintptr_t lo, uintptr_t hi, size_t need)
{
	lo = ALIGN_UP(lo, CHUNK_ALIGN);

	uintptr_t want = ALIGN_UP(MAX(hi, lo + sizeof(struct segment) + need), PAGE_SIZE);

	/* Somebody else's break in between: what we got stays unused. */
	if (want != hi && brk_extend(want - hi) != hi)
		return false;
	segment_install(a, lo, want, sizeof(struct segment));

	uintptr_t old_lo = a->brk_lo;

	a->brk_lo = old_lo != 0 ? MIN(old_lo, lo) : lo;
	a->brk_hi = MAX(a->brk_hi, want);
	return true;
}

static bool brk_grow(struct arena *a, size_t need)
{
	bool have_brk = a->current != NULL && !heap_known((uintptr_t)a->current);
	size_t have = have_brk ? chunk_size(a->top) : 0;
	size_t pad = MIN(param_get(&params.top_pad), (size_t)PTRDIFF_MAX / 2);
	size_t least = ALIGN_UP(need - have, PAGE_SIZE), want = ALIGN_UP(need + pad - have, PAGE_SIZE);
	uintptr_t old = brk_extend(want);

	if (old == (uintptr_t)-1 && want != least) {
		want = least;
		old = brk_extend(want);
	}
	if (old == (uintptr_t)-1)
		return false;
	if (!have_brk || old != a->top_end)
		return brk_begin(a, old, old + want, need);
	segment_extend(a, want);
	a->brk_hi = MAX(a->brk_hi, a->top_end);
	return true;
}

/* A heap's mapping, aligned; NULL: no memory. */
static void *heap_map(void)
{
	const struct pagesrc *src = source();
	uintptr_t p = (uintptr_t)src->map(HEAP_SIZE);

	/* Mappings grow downward next to each other: after the first, this often fits. */
	if (p == 0 || p % HEAP_SIZE == 0)
		goto out;
	src->unmap((void *)p, HEAP_SIZE);
	p = (uintptr_t)src->map(2 * HEAP_SIZE);
	if (p == 0)
		return NULL;

	uintptr_t aligned = ALIGN_UP(p, HEAP_SIZE);

	if (aligned != p)
		src->unmap((void *)p, aligned - p);
	if (aligned != p + HEAP_SIZE)
		src->unmap((void *)(aligned + HEAP_SIZE), p + HEAP_SIZE - aligned);
	p = aligned;
out:
	if (p / HEAP_SIZE >= NR_HEAPS) {
		src->unmap((void *)p, HEAP_SIZE);
		return NULL;
	}
	return (void *)p;
}

static bool heap_grow(struct arena *a, size_t need)
{
	if (need > HEAP_SIZE - sizeof(struct segment))
		return false;

	void *heap = heap_map();

	if (heap == NULL)
		return false;
	segment_install(a, (uintptr_t)heap, (uintptr_t)heap + HEAP_SIZE, sizeof(struct segment));
	heap_flip(heap);
	return true;
}

bool arena_grow(struct arena *a, size_t size)
{
	size_t need = size + CHUNK_MIN;

	if (a == &main_arena && brk_grow(a, need))
		return true;
	return heap_grow(a, need);
}

struct arena *arena_create(void)
{
	void *heap = heap_map();

	if (heap == NULL)
		return NULL;

	struct arena *a = (struct arena *)((uintptr_t)heap + sizeof(struct segment));

	bins_init(a);
	a->ready = true;
	segment_install(a, (uintptr_t)heap, (uintptr_t)heap + HEAP_SIZE, sizeof(struct segment) + sizeof(*a));
	heap_flip(heap);
	return a;
}

void arena_destroy(struct arena *a)
{
	void *heap = heap_of(a);

	heap_flip(heap);
	source()->unmap(heap, HEAP_SIZE);
}

bool segment_release_if_empty(struct arena *a, struct chunk *c, size_t size)
{
	struct segment *s = heap_of(c), **link = &a->segments;

	if (likely(size < HEAP_SIZE / 2 || !heap_known((uintptr_t)c)))
		return false;
	/* The first heap of an arena holds the arena. The fence may be one alignment longer than it need be. */
	if (c != (struct chunk *)(s + 1) || (uintptr_t)c + size < s->end - FENCE_SIZE - CHUNK_ALIGN)
		return false;
	dead_revive(chunk_inner(c, size));
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	a->segment_bytes -= HEAP_SIZE;
	heap_flip(s);
	source()->unmap(s, HEAP_SIZE);
	return true;
}

/* Moves the break down to `from`; false: it is not ours any more, or did not move. */
static bool brk_trim(struct arena *a, uintptr_t from)
{
	const struct pagesrc *src = source();
	uintptr_t end = a->top_end, dead = a->top_dead, fresh = a->top_fresh;

	if (heap_known((uintptr_t)a->current) || (uintptr_t)src->extend(0) != end)
		return false;
	dead_top_cut(a, from);
	if (src->extend(-(intptr_t)(end - from)) == (void *)-1) {
		dead_top_uncut(a, dead, fresh);
		return false;
	}
	a->current->end = a->top_end = from;
	a->segment_bytes -= end - from;
	chunk_set_head(a->top, (from - (uintptr_t)a->top) | PREV_INUSE);
	if (a->brk_hi == end)
		a->brk_hi = from;
	return true;
}

bool arena_trim(struct arena *a, size_t pad)
{
	if (a->top == NULL || pad >= a->top_end - (uintptr_t)a->top)
		return false;

	uintptr_t from = ALIGN_UP((uintptr_t)a->top + sizeof(struct chunk) + pad, PAGE_SIZE);
	uintptr_t dead = a->top_dead, fresh = a->top_fresh;

	if (from >= a->top_end)
		return false;
	if (brk_trim(a, from))
		return true;
	if (source()->purge == NULL || from >= fresh)
		return false;
	dead_top_cut(a, from);
	if (source()->purge((void *)from, fresh - from))
		return true;
	dead_top_uncut(a, dead, fresh);
	return false;
}

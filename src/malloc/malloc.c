/* The API: argument rules, errno, and which arena or mapping a call goes to. */
#include "malloc/short.h"

#include <errno.h>

#include "malloc/control.h"
#include "malloc/heapmap.h"
#include "malloc/profile.h"
#include "malloc/secure.h"
#include "malloc/zero.h"

#define CONSOLIDATE_PART 4 /* when the cache has this part of a large request */
#define READY_MAX ((size_t)64 << 10) /* zeroed blocks whose pages are touched at once */

#define API __attribute__((visibility("protected")))

struct malloc_params params = {
	.mmap_threshold = 128 * KIB,
	.trim_threshold = 128 * KIB,
	.top_pad = 128 * KIB,
	.maps_max = 65536,
};

static _Atomic(const struct pagesrc *) current_source = &pagesrc_plain;

const struct pagesrc *source(void)
{
	return atomic_load_explicit(&current_source, memory_order_acquire);
}

void source_set(const struct pagesrc *src)
{
	atomic_store_explicit(&current_source, src, memory_order_release);
}

/* size: chunk size. The block is aligned to align and usable for size - CHUNK_OVERHEAD bytes. */
static struct chunk *alloc_in(struct arena *a, size_t size, size_t align, uintptr_t *fresh)
{
	size_t want = align > CHUNK_ALIGN ? size + align + CHUNK_MIN : size;
	struct chunk *c = arena_alloc(a, want, fresh);

	return c != NULL && align > CHUNK_ALIGN ? arena_align(a, c, align, size) : c;
}

static struct chunk *grow_and_alloc(struct arena *a, size_t size, size_t align, uintptr_t *fresh)
{
	return arena_grow(a, size + (align > CHUNK_ALIGN ? align + CHUNK_MIN : 0)) ?
		       alloc_in(a, size, align, fresh) : NULL;
}

static struct chunk *alloc_mapped(size_t bytes, size_t align, uintptr_t *fresh)
{
	struct chunk *c = mapped_alloc(bytes, align);

	if (c != NULL) {
		*fresh = (uintptr_t)chunk_mem(c);
		heapmap_mapped(chunk_mem(c), chunk_usable(c));
	}
	return c;
}

static void free_mapped(struct chunk *c)
{
	heapmap_unmapped(chunk_mem(c));
	mapped_free(c);
}

/* The block that it has become; NULL: nothing was done. */
static void *resize_mapped(struct chunk *c, size_t bytes)
{
	struct chunk *resized;

	heapmap_unmapped(chunk_mem(c));
	resized = mapped_resize(c, bytes);
	if (resized != NULL)
		c = resized;
	heapmap_mapped(chunk_mem(c), chunk_usable(c));
	return resized != NULL ? chunk_mem(c) : NULL;
}

/*
 * A large request that found nothing: what the thread's cache has kept from
 * merging may make room. a is locked; returns it locked again, or NULL.
 */
static struct arena *consolidate(struct arena *a, size_t size)
{
	struct tcache *t = tcache_own;

	if (t == NULL || t->cached_bytes < size / CONSOLIDATE_PART || size < CACHED_CHUNK_MAX)
		return a;
	arena_unlock(a);
	chunk_cache_flush(t);
	return arena_lock(a) ? a : NULL;
}

/*
 * The steps of arena.c, and when an arena cannot grow: the main arena, for brk
 * may still have what mappings lack, and at last a mapping of any size.
 */
static struct chunk *alloc_chunk(size_t bytes, size_t align, uintptr_t *fresh)
{
	size_t size = chunk_request(bytes);
	/* A mapping gives back what a wide alignment leaves before and after the block. */
	bool big = size + (align > CHUNK_ALIGN ? align : 0) >= param_get(&params.mmap_threshold);
	struct arena *a = arena_acquire();
	struct chunk *c = NULL;

	if (a != NULL) {
		c = alloc_in(a, size, align, fresh);
		if (c == NULL && (a = consolidate(a, size)) != NULL)
			c = alloc_in(a, size, align, fresh);
	}
	if (a != NULL) {
		if (c == NULL && !big)
			c = grow_and_alloc(a, size, align, fresh);
		arena_unlock(a);
	}
	if (c == NULL && big)
		c = alloc_mapped(bytes, align, fresh);
	if (c == NULL && (big || a != &main_arena) && arena_lock(&main_arena)) {
		c = alloc_in(&main_arena, size, align, fresh);
		if (c == NULL)
			c = grow_and_alloc(&main_arena, size, align, fresh);
		arena_unlock(&main_arena);
	}
	if (c == NULL && !big)
		c = alloc_mapped(bytes, align, fresh);
	return c;
}

/*
 * Clears what is not known to be zero, and makes the rest of a block of a few pages ready to be written. A page that a
 * program reads first costs it two faults, the second with an interrupt on each CPU where it has a thread.
 */
static void clear(void *mem, size_t bytes, uintptr_t fresh)
{
	uintptr_t start = (uintptr_t)mem, end = start + bytes;

	if (fresh > start)
		memset(mem, 0, MIN(fresh - start, bytes));
	if (fresh >= end || bytes > READY_MAX)
		return;
	for (uintptr_t page = ALIGN_UP(MAX(fresh, start), PAGE_SIZE); page < end; page += PAGE_SIZE)
		*(volatile uint8_t *)page = 0;
}

/* Bytes of a request whose block is also aligned, if it is one for a slab; else 0. A slot is a multiple of each power of two that divides the request. */
static size_t slot_request(size_t bytes, size_t align)
{
	if (bytes > SLOT_MAX || align > PAGE_SIZE)
		return 0;
	bytes = ALIGN_UP(MAX(bytes, (size_t)1), align);
	return bytes <= SLOT_MAX ? bytes : 0;
}

/* The ways of the thread's cache. NULL: it has no such block. */
static void *alloc_cached(size_t bytes, size_t align, size_t *usable)
{
	size_t slot = slot_request(bytes, align);
	struct tcache *t = tcache_get();
	struct chunk *c = NULL;

	if (t == NULL)
		return NULL;
	if (slot == 0)
		c = chunk_cache_get(t, chunk_request(bytes), align);
	else if (align == CHUNK_ALIGN)
		c = tcache_alloc_hole(t, slot_class(slot), chunk_request(slot));
	if (c != NULL) {
		*usable = chunk_usable(c);
		*(uintptr_t *)chunk_mem(c) = 0; /* perhaps the mark of a slot that was here */
		return chunk_mem(c);
	}
	if (slot == 0)
		return NULL;
	*usable = class_bytes(slot_class(slot));
	return tcache_alloc(t, slot_class(slot));
}

void *malloc_plain(size_t bytes, size_t align, bool zeroed)
{
	uintptr_t fresh = UINTPTR_MAX;
	struct chunk *c;
	bool sample = profile_is_on() && bytes != 0 && profile_wants(bytes);
	size_t usable = 0;
	void *mem = NULL;

	if (likely(bytes <= PTRDIFF_MAX && align <= PTRDIFF_MAX - bytes)) {
		if (bytes == 0 && align == CHUNK_ALIGN)
			mem = zero_alloc();
		if (mem == NULL && !sample)
			mem = alloc_cached(bytes, align, &usable);
		if (mem == NULL && (c = alloc_chunk(bytes, align, &fresh)) != NULL) {
			mem = chunk_mem(c);
			usable = chunk_usable(c);
			*(uintptr_t *)mem = 0; /* perhaps the mark of a slot that was here */
		}
	}
	if (unlikely(mem == NULL)) {
		errno = ENOMEM;
		return NULL;
	}
	if (sample)
		profile_add(mem, bytes);

	uint8_t perturb = atomic_load_explicit(&params.perturb, memory_order_relaxed);

	if (zeroed)
		clear(mem, usable, fresh);
	else if (unlikely(perturb != 0))
		memset(mem, perturb ^ 0xff, usable);
	return mem;
}

void *malloc_mapped(size_t bytes, size_t align)
{
	uintptr_t fresh;
	struct chunk *c = alloc_mapped(bytes, align, &fresh);

	return c != NULL ? chunk_mem(c) : NULL;
}

void *malloc_long(size_t bytes, size_t align, bool zeroed)
{
	return secure_mode() ? secure_alloc(bytes, align, zeroed) : malloc_plain(bytes, align, zeroed);
}

API void *stw_malloc(size_t bytes)
{
	return malloc_short(bytes);
}

API void *stw_calloc(size_t n, size_t bytes)
{
	return calloc_short(n, bytes);
}

/* The chunk and its arena (NULL: a mapping of its own) of a block that a program hands in. */
static struct chunk *owned_chunk(void *mem, const char *what, struct arena **a)
{
	struct chunk *c = mem_chunk(mem);
	uintptr_t end;

	if (unlikely((uintptr_t)mem % CHUNK_ALIGN != 0))
		misuse(what, mem);
	*a = arena_of(c, &end);
	if (*a == NULL && unlikely(!mapped_valid(c)))
		misuse(what, mem);
	return c;
}

void free_slot(void *mem)
{
	struct slab *s = slab_of_slot(mem);
	size_t i;

	if (unlikely(s == NULL)) {
		free_chunk(mem);
		return;
	}
	if (s == &zero_slab) {
		zero_free(mem);
		return;
	}
	i = slab_slot(s, mem);
	if (unlikely(i == SIZE_MAX))
		misuse("free of an invalid pointer", mem);
	if (secure_slab(s)) {
		secure_free(s, mem, s->slot_bytes);
		return;
	}

	uint8_t perturb = atomic_load_explicit(&params.perturb, memory_order_relaxed);

	/* But for the word that may be the mark of a freed one. */
	if (unlikely(perturb != 0))
		memset((uintptr_t *)mem + 1, perturb, s->slot_bytes - sizeof(uintptr_t));
	if (tcache_own != NULL && tcache_owns(tcache_own, s)) /* a dissolved slab has no owner either */
		tcache_push(tcache_own, s, mem);
	else
		outbox_put(s, i, mem);
}

void free_chunk(void *mem)
{
	struct arena *a;
	struct chunk *c;

	if (mem == NULL)
		return;
	c = owned_chunk(mem, "free of an invalid pointer", &a);
	if (profile_is_on())
		profile_forget(mem);
	if (a == NULL)
		free_mapped(c);
	else if (unlikely((chunk_head(c) & SEALED) != 0))
		secure_free(NULL, mem, chunk_usable(c));
	else if (tcache_own == NULL || !chunk_cache_put(tcache_own, a, c))
		arena_free_remote(a, c);
}

API void stw_free(void *mem)
{
	free_short(mem);
}

/* What the user of a slot may use; aborts if there is none. */
static size_t slot_usable(const struct slab *s, void *mem, const char *what)
{
	size_t i;

	if (s == &zero_slab) {
		zero_check(mem, what);
		return 0;
	}
	i = slab_slot(s, mem);
	if (unlikely(i == SIZE_MAX))
		misuse(what, mem);
	if (unlikely((slab_word(s, i / 64) >> i % 64 & 1) != 0))
		misuse("use of a freed block", mem);
	return secure_slab(s) ? secure_requested(mem, s->slot_bytes) : s->slot_bytes;
}

/* The same for a chunk. */
static size_t chunk_promised(struct chunk *c)
{
	return (chunk_head(c) & SEALED) != 0 ? secure_requested(chunk_mem(c), chunk_usable(c)) : chunk_usable(c);
}

static size_t block_usable(void *mem, const char *what)
{
	struct arena *a;

	return chunk_promised(owned_chunk(mem, what, &a));
}

/*
 * Can a block that was asked for with these have this slot? A slot may be one
 * for more than that when realloc made the block smaller (resize_slot).
 */
static bool slot_fits(const struct slab *s, void *mem, size_t align, size_t bytes)
{
	size_t request = slot_request(bytes, align), usable = slot_usable(s, mem, "free of an invalid pointer");

	if (s == &zero_slab)
		return bytes == 0;
	if (secure_slab(s)) /* operator new asks for whole alignments, and for a byte in place of none */
		return usable == bytes || usable == ALIGN_UP(bytes, align) || (bytes == 0 && usable == 1);
	return request != 0 && request <= s->slot_bytes &&
	       (request >= s->slot_bytes / 2 || slot_class(request) == s->class);
}

API void stw_free_aligned_sized(void *mem, size_t align, size_t bytes)
{
	struct slab *s = slab_of_slot(mem);

	if (mem == NULL)
		return;
	if (unlikely(((uintptr_t)mem & (align - 1)) != 0))
		misuse("free with a wrong alignment", mem);
	if (unlikely(s != NULL ? !slot_fits(s, mem, align, bytes) : bytes > block_usable(mem, "free of an invalid pointer")))
		misuse("free with a wrong size", mem);
	stw_free(mem);
}

API void stw_free_sized(void *mem, size_t bytes)
{
	free_sized_short(mem, bytes);
}

/* True: done in place. */
static bool resize_in_place(struct arena *a, struct chunk *c, size_t size)
{
	bool done = true;

	if (!arena_lock(a))
		return chunk_size(c) >= size;
	if (chunk_size(c) < size)
		done = arena_expand(a, c, size);
	else
		arena_shrink(a, c, size);
	arena_unlock(a);
	return done;
}

static void *move(void *mem, size_t old, size_t bytes)
{
	void *copy = stw_malloc(bytes);

	if (copy == NULL)
		return NULL;
	memcpy(copy, mem, MIN(old, bytes));
	stw_free(mem);
	return copy;
}

static void *resize_slot(const struct slab *s, void *mem, size_t bytes)
{
	size_t old = slot_usable(s, mem, "realloc of an invalid pointer");

	/* Also when it becomes a little smaller. */
	if (secure_slab(s) ? secure_resize(mem, s->slot_bytes, bytes) : bytes <= old && bytes >= old / 2)
		return mem;
	return move(mem, old, bytes);
}

/* NULL: it would have to move. */
static void *resize_here(struct arena *a, struct chunk *c, size_t bytes)
{
	if (a == NULL)
		return resize_mapped(c, bytes);
	if (unlikely((chunk_head(c) & SEALED) != 0))
		return secure_resize(chunk_mem(c), chunk_usable(c), bytes) ? chunk_mem(c) : NULL;
	return bytes > SLOT_MAX && resize_in_place(a, c, chunk_request(bytes)) ? chunk_mem(c) : NULL;
}

static void *resize_chunk(void *mem, size_t bytes)
{
	struct arena *a;
	struct chunk *c = owned_chunk(mem, "realloc of an invalid pointer", &a);
	size_t old = chunk_promised(c);
	void *resized = resize_here(a, c, bytes);

	if (resized == NULL)
		return move(mem, old, bytes);
	if (profile_is_on())
		profile_resized(mem, resized, old, bytes);
	return resized;
}

API void *stw_realloc(void *mem, size_t bytes)
{
	struct slab *s = slab_of_slot(mem);

	if (mem == NULL)
		return stw_malloc(bytes);
	if (bytes == 0) {
		stw_free(mem);
		return NULL;
	}
	if (unlikely(bytes > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	return s != NULL ? resize_slot(s, mem, bytes) : resize_chunk(mem, bytes);
}

static bool power_of_two(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

API void *stw_aligned_alloc(size_t align, size_t bytes)
{
	if (!power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	return malloc_long(bytes, MAX(align, CHUNK_ALIGN), false);
}

API void *stw_memalign(size_t align, size_t bytes)
{
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	if (align <= CHUNK_ALIGN)
		align = CHUNK_ALIGN;
	else if (!power_of_two(align))
		align = (size_t)1 << (64 - __builtin_clzll(align));
	return malloc_long(bytes, align, false);
}

API int stw_posix_memalign(void **mem, size_t align, size_t bytes)
{
	if (!power_of_two(align) || align % sizeof(void *) != 0)
		return EINVAL;

	void *p = malloc_long(bytes, MAX(align, CHUNK_ALIGN), false);

	if (p == NULL)
		return ENOMEM;
	*mem = p;
	return 0;
}

API void *stw_valloc(size_t bytes)
{
	return malloc_long(bytes, PAGE_SIZE, false);
}

API void *stw_pvalloc(size_t bytes)
{
	return malloc_long(bytes > PTRDIFF_MAX ? bytes : ALIGN_UP(bytes, PAGE_SIZE), PAGE_SIZE, false);
}

API size_t stw_malloc_usable_size(void *mem)
{
	static const char what[] = "malloc_usable_size of an invalid pointer";
	struct slab *s = slab_of_slot(mem);

	if (s != NULL)
		return slot_usable(s, mem, what);
	return mem != NULL ? block_usable(mem, what) : 0;
}

API int stw_malloc_trim(size_t pad)
{
	int done = tcache_trim();

	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_lock(a))
			continue;
		done |= arena_trim(a, pad) | arena_purge(a);
		arena_unlock(a);
	}
	return done;
}

static void set(_Atomic size_t *param, size_t value)
{
	atomic_store_explicit(param, value, memory_order_relaxed);
}

int malloc_set(int param, size_t value)
{
	bool negative = value > PTRDIFF_MAX;

	switch (param) {
	case OPT_TRIM_THRESHOLD:
		set(&params.trim_threshold, value); /* SIZE_MAX, -1 of mallopt: never */
		break;
	case OPT_TOP_PAD:
		if (negative)
			return 0;
		set(&params.top_pad, value);
		break;
	case OPT_MMAP_THRESHOLD:
		set(&params.mmap_threshold, value);
		break;
	case OPT_MMAP_MAX:
		set(&params.maps_max, negative ? 0 : value);
		break;
	case OPT_ARENA_MAX:
		if (negative || value == 0)
			return 0;
		set(&params.arenas_max, value);
		return 1;
	case OPT_PERTURB:
		params.perturb = secure_mode() ? 0 : (uint8_t)value; /* freed blocks are zero there */
		if (params.perturb != 0)
			tcache_no_shortcuts();
		return 1;
	case OPT_MXFAST:
		return value <= MXFAST_MAX; /* accepted: there are no fast bins */
	default:
		return 1; /* as glibc does for numbers that it does not know */
	}
	params.fixed_thresholds = true;
	return 1;
}

API int stw_mallopt(int param, int value)
{
	return malloc_set(param, (size_t)(long)value);
}

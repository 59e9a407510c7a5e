/*
 * An arena: a set of segments, cut into chunks, under one lock.
 *
 *   bins.c     the 128 bins and their bitmap
 *   dead.c     which pages of free memory are discarded
 *   arena.c    allocate and free in a locked arena
 *   segment.c  segments: brk, mapped heaps, growth and trim
 *   arenas.c   the set of arenas, how a thread gets one, fork
 *   purge.c    what was free for a while goes back
 *   mapped.c   blocks that are a mapping of their own
 *
 * In front of the arenas: slab.h, tcache.h. In front of all: malloc.c, the API.
 */
#ifndef STW_MALLOC_ARENA_H
#define STW_MALLOC_ARENA_H

#include "base/assert.h"
#include "malloc/chunk.h"
#include "malloc/lock.h"
#include "malloc/pagesrc.h"

#define BIN_UNSORTED 1
#define BIN_SMALL_FIRST 2
#define BIN_LARGE_FIRST 64
#define BIN_LAST 126
#define NR_BINS 128             /* 0 and 127 stay unused: the classical numbering */
#define SMALL_LIMIT ((size_t)1024) /* the first large chunk size */

#define HEAP_SIZE ((size_t)32 << 20) /* a mapped segment; aligned to its size, so that a chunk finds it */
#define ARENAS_MAX 128

/*
 * At the start of a segment. Memory from the source in one piece: what brk
 * gave contiguously, or a heap. `first` up to `end` is tiled by chunks, the
 * last ones being the fence, or the top if it is the arena's current segment.
 */
struct segment {
	struct arena *arena;
	struct segment *next;
	struct chunk *first;
	uintptr_t end; /* page-aligned */
};

/*
 * Laws (arena_check):
 *  1. Chunks tile every segment; a free chunk has free neighbours on neither side; its footer is its size.
 *  2. A free chunk is in exactly one bin: the unsorted one or that of its size; free_bytes, free_chunks count them.
 *  3. A large bin is sorted by size, largest first; the first chunk of each size is in the ring of sizes.
 *  4. A non-empty bin other than the unsorted one has its bit in binmap (an empty one may).
 *  5. top ends at the end of `current`, is at least CHUNK_MIN, and its predecessor is in use.
 *  6. Discarded pages are exactly chunk_inner() of every free chunk and [top_dead, top_fresh), with
 *     page_up(top header) ≤ top_dead ≤ top_fresh ≤ top end. From top_fresh on, nobody has written since the
 *     source gave zeroed pages.
 *
 * All under the lock, but for: number (set before others see it), deferred (any thread pushes), unsettled (any thread sets), brk_lo, brk_hi, segment_bytes (read without it), abandoned (set by the only thread of a
 * child).
 */
struct arena {
	struct lock lock;
	bool ready;                       /* the bins are linked; an arena is zeroed memory before */
	uint8_t number;                   /* arena_nth(number) is this one: for ever, as arenas are never unmapped */
	bool abandoned;                   /* locked for ever: its holder stayed behind in the parent */
	_Atomic(const void *) fork_owner; /* the thread that holds the lock over a fork */
	_Atomic bool purging;             /* for a moment: the lock is worth waiting for */
	struct arena *outer;              /* what else the holder had locked: a signal handler over malloc */
	_Atomic(struct chunk *) deferred; /* freed while the lock was taken; linked by fd */
	_Atomic bool unsettled;           /* the same of dissolved slabs (dissolve.c) */

	struct chunk *top;
	uintptr_t top_end, top_dead, top_fresh;
	uintptr_t top_reached[2];         /* the highest ends of blocks, lately and before (purge.c) */
	struct segment *current;
	struct segment *segments;
	_Atomic uintptr_t brk_lo, brk_hi; /* main arena: all its brk segments lie in between */

	struct chunk *last_remainder;
	size_t free_bytes, free_chunks;   /* in the bins */
	_Atomic size_t segment_bytes;     /* caches read it without the lock */
	size_t segment_bytes_max;
	uint64_t told_bytes, told_free;   /* what is in the counts (count.h) */
	struct slab *unused_slabs;        /* descriptors (slab.h); linked by next */
	struct slab_block *slab_blocks;
	size_t dissolved;                 /* slabs that are chunks now and still have blocks (dissolve.c) */
	uint64_t binmap[NR_BINS / 64];
	struct {
		struct chunk *fd, *bk;
	} bins[NR_BINS];
};

/* mallopt's numbers are glibc's ABI. */
#define OPT_MXFAST 1
#define OPT_TRIM_THRESHOLD (-1)
#define OPT_TOP_PAD (-2)
#define OPT_MMAP_THRESHOLD (-3)
#define OPT_MMAP_MAX (-4)
#define OPT_CHECK_ACTION (-5)
#define OPT_PERTURB (-6)
#define OPT_ARENA_TEST (-7)
#define OPT_ARENA_MAX (-8)
#define MXFAST_MAX 160

/* What mallopt sets. Relaxed atomics: a change needs not be seen at once. */
struct malloc_params {
	_Atomic size_t mmap_threshold, trim_threshold, top_pad;
	_Atomic size_t maps_max;
	_Atomic size_t arenas_max; /* 0: from the number of processors */
	_Atomic bool fixed_thresholds;
	_Atomic uint8_t perturb;
	_Atomic bool secure;
};

#define MMAP_THRESHOLD_MAX ((size_t)32 << 20) /* that it rises to by itself */

extern struct malloc_params params;
extern struct arena main_arena;

static inline size_t param_get(_Atomic size_t *p) { return atomic_load_explicit(p, memory_order_relaxed); }

/* The source in use. */
const struct pagesrc *source(void);
void source_set(const struct pagesrc *src);

/* misuse.c: "steward: malloc: WHAT: ADDRESS" on stderr, then abort(). */
void misuse(const char *what, const void *addr) __attribute__((noreturn, cold));

/* A number that only this process knows; never 0. */
uintptr_t process_secret(void);

/* bins.c */
unsigned bin_index(size_t size);
void bins_init(struct arena *a);
void bin_insert(struct arena *a, struct chunk *c, size_t size);          /* to the bin of its size */
void bin_insert_unsorted(struct arena *a, struct chunk *c, size_t size);
void bin_remove(struct arena *a, struct chunk *c);                      /* from wherever it is; checks its links and footer */
struct chunk *bin_best_fit(struct arena *a, unsigned index, size_t size);  /* in a large bin; not removed; NULL: none */
unsigned bin_next_used(struct arena *a, unsigned index);                /* first non-empty bin ≥ index, or 0 */
static inline struct chunk *bin_head(struct arena *a, unsigned index)
{
	return (struct chunk *)((uintptr_t)&a->bins[index] - offsetof(struct chunk, fd));
}

/* dead.c */
void dead_merge(struct range whole, struct range below, struct range above);
void dead_split(const struct chunk *c, size_t size, size_t taken);
void dead_revive(struct range r);
void dead_top_lowered(struct arena *a, struct range below);
void dead_top_raise(struct arena *a, uintptr_t alive_end);
void dead_top_cut(struct arena *a, uintptr_t from);
void dead_top_uncut(struct arena *a, uintptr_t dead, uintptr_t fresh);

/* arena.c: the caller holds the lock. */

/* NULL: neither bins nor top have it. Bytes from *fresh on are known to be zero (UINTPTR_MAX: none). */
struct chunk *arena_alloc(struct arena *a, size_t size, uintptr_t *fresh);
void arena_free(struct arena *a, struct chunk *c);
/* From free chunks that no page of a slab fits into; NULL: none is large enough. */
struct chunk *arena_alloc_hole(struct arena *a, size_t size);
/*
 * A chunk of pages * PAGE_SIZE bytes whose block begins on a page and ends 8 bytes before one. May make the arena grow. NULL: no memory.
 */
struct chunk *arena_alloc_pages(struct arena *a, size_t pages);
/* Gives the bytes beyond size back; size ≤ the chunk's. */
void arena_shrink(struct arena *a, struct chunk *c, size_t size);
/* In place; false: the neighbour above has not enough. May extend the top. */
bool arena_expand(struct arena *a, struct chunk *c, size_t size);
/* Cuts an aligned block of `size` out of c, which has size + align + CHUNK_MIN. */
struct chunk *arena_align(struct arena *a, struct chunk *c, size_t align, size_t size);
void arena_check(struct arena *a);

/* dissolve.c: slabs that are unsettled. Lock held. */
void arena_settle(struct arena *a);

/* segment.c */

/* Makes the top hold a chunk of this size and its own header; false: no memory. Lock held. */
bool arena_grow(struct arena *a, size_t size);
/* The top keeps pad bytes, the rest goes back; true if something went. Lock held. */
bool arena_trim(struct arena *a, size_t pad);
/* For a merged chunk that is in no bin: if it is all of a heap that is not in use any more, the heap goes. Lock held. */
bool segment_release_if_empty(struct arena *a, struct chunk *c, size_t size);
/* The arena that owns c, or NULL: it is not in any segment. *end: a chunk of this segment ends there or before. */
struct arena *arena_of(const struct chunk *c, uintptr_t *end);
/* A new arena in a heap of its own, locked by nobody; NULL: no memory. */
struct arena *arena_create(void);
/* Undoes arena_create for an arena that nobody has seen. */
void arena_destroy(struct arena *a);

/* purge.c */

/* The frames of all discarded pages of the bins go back; they stay discarded. True if something went. Lock held. */
bool arena_purge(struct arena *a);
/* The time, as chunks know it. */
uint32_t purge_ticks(void);
/* True: memory goes back by itself when it is old, so nobody else needs to hurry. */
bool purge_is_on(void);
/* For a locked arena in which something was freed: purge_start is due, once it is unlocked. */
bool purge_wanted(const struct arena *a);
void purge_start(void);
/* In the child after fork. */
void purge_child(void);

/* arenas.c */

/* Locked, or NULL: all are taken and there is no memory for another. */
struct arena *arena_acquire(void);
/* Locked, or false: its holder may never let go (fork, signal handler). */
bool arena_lock(struct arena *a);
bool arena_trylock(struct arena *a);
void arena_unlock(struct arena *a);
/* Bytes of its segments that were ever touched; what is free in the bins and at the top. Lock held. */
static inline size_t arena_bytes(const struct arena *a)
{
	return atomic_load_explicit(&a->segment_bytes, memory_order_relaxed) - (a->top_end - a->top_fresh);
}

static inline size_t arena_free_bytes(const struct arena *a)
{
	return a->free_bytes + (a->top_fresh - (uintptr_t)a->top);
}

/* The same after arena_free: what is free now may be worth a purger. */
void arena_unlock_freed(struct arena *a);
/* Frees now or when the lock is next free; never waits. */
void arena_free_remote(struct arena *a, struct chunk *c);
/* The i-th arena; NULL: a gap. */
struct arena *arena_nth(unsigned i);

/* mapped.c: blocks of their own mapping, usable for `bytes`. NULL: no memory or too many. */
struct chunk *mapped_alloc(size_t bytes, size_t align);
void mapped_free(struct chunk *c);
struct chunk *mapped_resize(struct chunk *c, size_t bytes);
bool mapped_valid(const struct chunk *c);

struct mapped_stat {
	_Atomic size_t count, bytes, count_max, bytes_max;
};

extern struct mapped_stat mapped_stat;

#endif

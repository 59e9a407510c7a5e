/*
 * Slabs: a few pages cut into slots of one size, for small blocks.
 *
 *   slab (out of line, 128 bytes)             the pages, a block of the arena below
 *   ├ free[4]    1: the slot is free     ─►   ├ slot 0 │ slot 1 │ slot 2 │ …          │ 8 bytes ┤
 *   ├ remote[4]  1: freed by another thread
 *
 * Nothing about a slot lies in or next to it: a block costs no header, a write
 * beyond a block or after its free cannot mislead the allocator, and a bit that
 * is set twice is a double free. The mark in a free slot is only there to be
 * found changed, or to be found when the block is freed again.
 *
 * A slab belongs to one thread's cache (tcache.h), which alone changes `free`.
 * Others set bits in `remote` and, the first of them, push the slab on the
 * owner's stack; the owner takes those bits over when it runs out of slots.
 *
 * Laws (slab_check):
 *  1. free and remote have no bit in common and none at or beyond nr_slots.
 *  2. used = nr_slots less the bits of free, remote ones count as used; plus SLAB_FULL if its owner
 *     has it in no list because it had no free slot.
 *  3. Each page of a slab is in the pagemap; its chunk in the arena is in use.
 *  4. A free slot below `marked` begins with its mark; the slots from there on were never handed out.
 *
 * A descriptor is never anything else (meta.h): who still has a pointer to one
 * after the slab is gone finds a descriptor, perhaps of another slab. What that
 * needs is at slab_free_remote.
 *
 * A slab in which little is left can be cut into chunks (dissolve.c).
 *
 * After jemalloc's slabs (bitmaps) and mimalloc's pages (one owner, lists of
 * remote frees; Leijen, Zorn, de Moura 2019).
 */
#ifndef STW_MALLOC_SLAB_H
#define STW_MALLOC_SLAB_H

#include <stdatomic.h>

#include "base/heapcount.h"
#include "malloc/arena.h"

#define SLOT_MAX ((size_t)8192)    /* larger blocks are chunks */
#define NR_CLASSES HEAP_CLASSES
#define CLASS_ZERO NR_CLASSES       /* of requests for no bytes: has no slabs, and its stack is always empty (zero.c) */
#define SLAB_WORDS 4
#define SLAB_SLOTS_MAX (SLAB_WORDS * 64)
#define SLAB_BYTES_MAX ((size_t)8 << 10) /* but for SLAB_SLOTS_MIN */
#define SLAB_SLOTS_MIN 4
#define SLAB_FULL 0x8000u

struct tcache;

/* o: changed by the owner only; c: constant while the slab lives; a: atomic, by anybody. */
struct slab {
	uint64_t free[SLAB_WORDS];           /* o; read by all (relaxed) */
	uintptr_t base;                      /* c; slot 0, page-aligned */
	_Atomic(struct tcache *) owner;      /* c; NULL: no slab at all, or dissolved */
	uint32_t inverse;                    /* c; 2^32 / slot_bytes, rounded up */
	uint16_t bytes;                      /* c; of all slots */
	uint8_t class;                       /* c */
	uint8_t pages;                       /* c */
	uint16_t slot_bytes;                 /* c */
	uint16_t nr_slots;                   /* c */
	uint16_t used;                       /* o */
	uint16_t marked;                     /* o */

	_Alignas(64) _Atomic uint64_t remote[SLAB_WORDS]; /* a */
	struct slab *next, *prev;            /* o; in the owner's list, or the arena's list of unused descriptors */
	struct slab *next_remote;            /* of who set pending: in the owner's stack */
	_Atomic bool pending;                /* a; in a stack, or about to be pushed; outlives the slab */
	_Atomic bool dissolved;              /* cut into chunks, its blocks too (dissolve.c); until the descriptor is used again */
	uint8_t arena;                       /* number of the arena whose descriptor this is, for ever */
};

_Static_assert(sizeof(struct slab) == 128, "two lines");

/* Which class serves a request of 16 * i bytes or a little less; CLASS_ZERO for no bytes. */
extern const uint8_t slot_classes[SLOT_MAX / 16 + 1];

/* bytes ≤ SLOT_MAX. */
static inline unsigned slot_class(size_t bytes)
{
	return slot_classes[(bytes + 15) / 16];
}

/* Bytes of a slot: 16 apart up to 256, 32 up to 512, 64 up to 1024, and so on: from 256 on eight sizes for each doubling. */
static inline size_t class_bytes(unsigned class)
{
	return class < 16 ? 16 * (class + 1) : (size_t)(9 + class % 8) << (class / 8 + 3);
}

static inline uint64_t slab_word(const struct slab *s, size_t i)
{
	return __atomic_load_n(&s->free[i], __ATOMIC_RELAXED);
}

static inline void slab_set_word(struct slab *s, size_t i, uint64_t w)
{
	__atomic_store_n(&s->free[i], w, __ATOMIC_RELAXED);
}

/*
 * Does a slot begin at mem? It lies in a page of s. An offset is a multiple of slot_bytes if what is left of its product with
 * the inverse is less than the inverse: exact while offset * slot_bytes < 2^32 (Lemire, Kaser, Kurz 2019).
 */
static inline bool slab_has(const struct slab *s, const void *mem)
{
	uint64_t offset = (uintptr_t)mem - s->base;

	return likely(offset < s->bytes) && likely((uint32_t)offset * s->inverse < s->inverse);
}

/* The same for its owner: does a slot begin there that was ever handed out, or has its mark? With one product for both, and no look at bytes. */
static inline bool slab_has_marked(const struct slab *s, const void *mem)
{
	uint64_t product = ((uintptr_t)mem - s->base) * s->inverse;

	return likely((uint32_t)product < s->inverse) && likely(product >> 32 < s->marked);
}

/* Whose pages it has, or had: the arena is there also when the heap that they were in is unmapped. */
static inline struct arena *slab_arena(const struct slab *s)
{
	return arena_nth(s->arena);
}

/* The index of the slot that mem, which is in one, lies in. */
static inline size_t slab_index(const struct slab *s, const void *mem)
{
	return ((uintptr_t)mem - __atomic_load_n(&s->base, __ATOMIC_RELAXED)) * __atomic_load_n(&s->inverse, __ATOMIC_RELAXED) >> 32;
}

/* The index of the slot that begins at mem, or SIZE_MAX: none does. */
static inline size_t slab_slot(const struct slab *s, const void *mem)
{
	return slab_has(s, mem) ? slab_index(s, mem) : SIZE_MAX;
}

/* What the first word of free memory at mem is as long as a slab or a cache has it. */
static inline uintptr_t free_mark(uintptr_t secret, const void *mem)
{
	return secret ^ (uintptr_t)mem;
}

/*
 * A new slab with all slots free; a is locked. May make the arena grow. NULL:
 * no memory. slots: how many would be welcome; at most SLAB_BYTES_MAX and what makes them fit, for the smaller a slab, the sooner it is empty.
 */
struct slab *slab_create(struct arena *a, struct tcache *owner, unsigned class, size_t slots);
/* Gives it back to its arena, which must not be locked by the caller. No slot is in use and it is in no list. */
void slab_destroy(struct slab *s);

/* Takes up to n free slots, the lowest last in mem[0 .. n), for which it fills from the end; says how many. Owner only. */
uint32_t slab_take(struct slab *s, uint32_t n, void **mem);
/* Slot i is free again. True: it was full before, or nothing is in use now. Owner only. */
static inline bool slab_free(struct slab *s, size_t i, const void *mem)
{
	uint64_t bit = (uint64_t)1 << i % 64, w = slab_word(s, i / 64);

	if (unlikely((w & bit) != 0))
		misuse("double free", mem);
	slab_set_word(s, i / 64, w | bit);
	s->used--;
	return (s->used & SLAB_FULL) != 0 || s->used == 0;
}

/* The slots of these bits, which have their marks, were freed by a thread that does not own s. At least one. */
void slab_free_remote(struct slab *s, const uint64_t bits[SLAB_WORDS]);
/* The owner takes over what others freed; false: nothing. */
bool slab_collect(struct slab *s);
/* For a slab that was taken off a stack: from now on it may be pushed again. False: it is not the slab of `by` (any more). */
bool slab_popped(struct slab *s, const struct tcache *by);

/* Of the last slots that have marks, those that are free have the right ones. Owner only. */
void slab_look(const struct slab *s, size_t slots);

/* Free slots, of which some may be known to remote only; at this moment. */
size_t slab_free_slots(const struct slab *s);
/* Calls fn for each slab of a locked arena, also for the dissolved ones as long as they have blocks. */
void slab_each(struct arena *a, void (*fn)(void *ctx, struct slab *s), void *ctx);
void slab_check(const struct slab *s);

/* Nobody uses the descriptor any more; its arena is locked. */
void slab_descriptor_free(struct arena *a, struct slab *s);

/* dissolve.c */

/* It has few slots in use, some at least, so that there is room for chunks between them. */
bool slab_is_sparse(const struct slab *s);
/*
 * Makes chunks of a sparse slab: of its free stretches and of its stretches of slots in use. The owner's cache has it in no list and no
 * slot of it in a stack. False: its arena's lock is not to be had.
 */
bool slab_dissolve(struct slab *s);
/* Other threads freed slots of s, whose slots begin at base, and it was dissolved: what is free altogether goes to the arena. */
void slab_settle(struct slab *s, uintptr_t base);

static inline bool slab_is_dissolved(const struct slab *s)
{
	return atomic_load(&s->dissolved);
}

/* The bits of a dissolved slab that is in use still fit its chunks. */
void slab_check_dissolved(const struct slab *s);
/*
 * The slab in one of whose slots mem lies; NULL: it is a chunk, or nothing. What pagemap_slab names may be dissolved, and what was made in
 * its holes is chunks.
 */
struct slab *slab_of_slot(const void *mem);

#endif

/*
 * Sparse slabs become chunks.
 *
 * Where the sizes that a program uses shift, the slabs of yesterday's sizes
 * stay for a few survivors each, and their free slots serve no other size. So
 * before a heap grows, slabs with few slots in use, of sizes that nobody asks
 * for any more, are cut up:
 *
 *   slots   │ free │ free │ block │ free │ free │ free │ block │ block │ free │
 *   chunks  │      free     │ in use  │      free      │     in use      │ free │
 *
 * A stretch of slots in use becomes a chunk in use, whose head lies at the end
 * of the free slot before it; what is between becomes free chunks, which merge
 * with their neighbours and serve any size from the arena's bins
 * (arena_alloc_hole).
 *
 * The blocks do not know. The descriptor stays for them, with the bit of each
 * in `free` still clear, and so do the entries of the pagemap; its owner is nobody, so
 * that every free of such a block takes the way of other threads' blocks: a
 * bit in `remote`. When all slots of a stretch have theirs, the stretch is
 * settled: its bits are set in `free` and its chunk is freed. With the last
 * stretch the descriptor goes. A block that was made in a hole is a chunk like
 * any, although the pagemap names the slab: no bit of a slot is clear there,
 * and slab_of_slot tells them apart.
 *
 * Other threads may free blocks of the slab at any moment.
 *  - Who sets a bit looks at `dissolved` afterwards, and who sets `dissolved`
 *    looks at the bits afterwards, in one total order: nothing is forgotten.
 *  - Stretches are settled, and descriptors used again, under the lock of the
 *    arena. Who comes late finds the slab settled, or a descriptor that is not
 *    dissolved or begins elsewhere. Who does not get the lock leaves word
 *    (unsettled) for its holder, who then looks at all.
 *
 * No peer has it that we know of: glibc, which has no slabs, merges such holes; the
 * others leave them until the last block of a page is gone.
 */
#include "malloc/count.h"
#include "malloc/pagemap.h"
#include "malloc/slab.h"

#define USED_PART 4 /* of the slots, at most */

/* Slots [first, end). */
struct stretch {
	size_t first, end;
};

static bool in_use(const struct slab *s, size_t i)
{
	return (__atomic_load_n(&s->free[i / 64], __ATOMIC_ACQUIRE) >> i % 64 & 1) == 0;
}

/* The first stretch of slots in use from slot i on; false: there is none. */
static bool next_stretch(const struct slab *s, size_t i, struct stretch *st)
{
	while (i < s->nr_slots && !in_use(s, i))
		i++;
	st->first = i;
	while (i < s->nr_slots && in_use(s, i))
		i++;
	st->end = i;
	return st->first != st->end;
}

/* Where the chunk whose block begins with slot i begins. */
static uintptr_t chunk_of_slot(const struct slab *s, size_t i)
{
	return s->base + i * s->slot_bytes - CHUNK_HEADER;
}

bool slab_is_sparse(const struct slab *s)
{
	struct stretch st;

	if (s->used == 0 || s->used > s->nr_slots / USED_PART)
		return false;
	next_stretch(s, 0, &st);
	return st.first == 0 || st.first * s->slot_bytes >= CHUNK_MIN;
}

/* [from, to) is a chunk in use. */
static void cut(uintptr_t from, uintptr_t to, size_t flags)
{
	chunk_set_head((struct chunk *)from, (to - from) | flags);
}

/* The chunk of the slab, in use, becomes chunks; those of the free stretches are freed. a is locked. */
static void cut_up(struct arena *a, const struct slab *s)
{
	struct chunk *whole = mem_chunk((void *)s->base);
	uintptr_t at = (uintptr_t)whole, stop = (uintptr_t)chunk_next(whole), holes[SLAB_SLOTS_MAX / 2 + 1];
	size_t flags = chunk_head(whole) & HEAD_FLAGS, nr_holes = 0;
	struct stretch st;

	for (size_t i = 0; at != stop; i = st.end, flags = PREV_INUSE) {
		uintptr_t used = next_stretch(s, i, &st) ? chunk_of_slot(s, st.first) : stop;

		if (used != at) {
			cut(at, used, flags);
			holes[nr_holes++] = at;
			flags = PREV_INUSE;
		}
		if (used == stop)
			break;

		struct stretch after;
		uintptr_t end = s->base + st.end * s->slot_bytes;
		uintptr_t next = next_stretch(s, st.end, &after) ? chunk_of_slot(s, after.first) : stop;

		at = next < end + CHUNK_MIN ? next : end; /* too small for a chunk */
		cut(used, at, flags);
	}
	while (nr_holes != 0)
		arena_free(a, (struct chunk *)holes[--nr_holes]);
}

/* a, which is locked, has no use for the descriptor any more, and the pages are its own: all but those that became a slab again. */
static void retire(struct arena *a, struct slab *s)
{
	for (size_t i = 0; i < SLAB_WORDS; i++)
		atomic_store(&s->remote[i], 0);
	for (size_t page = 0; page < s->pages; page++) {
		uintptr_t addr = s->base + page * PAGE_SIZE;

		if (pagemap_slab((void *)addr) == s)
			pagemap_set(addr, 1, NULL);
	}
	a->dissolved--;
	slab_descriptor_free(a, s);
}

static void settle(struct arena *a, struct slab *s)
{
	struct stretch st;

	for (size_t i = 0; next_stretch(s, i, &st); i = st.end) {
		size_t freed = st.first;

		while (freed < st.end && (atomic_load(&s->remote[freed / 64]) >> freed % 64 & 1) != 0)
			freed++;
		if (freed != st.end)
			continue;
		for (size_t slot = st.first; slot < st.end; slot++)
			slab_set_word(s, slot / 64, slab_word(s, slot / 64) | (uint64_t)1 << slot % 64);
		s->used = (uint16_t)(s->used - (st.end - st.first));
		count_add(&counts->class[s->class].slots, -(uint64_t)(st.end - st.first));
		arena_free(a, (struct chunk *)chunk_of_slot(s, st.first));
	}
	if (s->used == 0)
		retire(a, s);
}

bool slab_dissolve(struct slab *s)
{
	struct arena *a = slab_arena(s);

	if (!arena_lock(a))
		return false;
	cut_up(a, s);
	count_add(&counts->class[s->class].slots, -(uint64_t)(s->nr_slots - s->used));
	a->dissolved++;
	atomic_store(&s->dissolved, true);
	atomic_store(&s->owner, NULL);
	settle(a, s);
	arena_unlock_freed(a);
	return true;
}

void slab_settle(struct slab *s, uintptr_t base)
{
	/* Not by the address: who settled our bit before us may have unmapped the heap. */
	struct arena *a = slab_arena(s);

	if (!arena_lock(a)) {
		/* Who has it does it, when it lets go; see arena_free_remote. */
		atomic_store(&a->unsettled, true);
		if (arena_trylock(a))
			arena_unlock(a);
		return;
	}
	if (slab_is_dissolved(s) && s->base == base && s->used != 0)
		settle(a, s);
	arena_unlock_freed(a);
}

static void settle_one(void *a, struct slab *s)
{
	if (slab_is_dissolved(s))
		settle(a, s);
}

void arena_settle(struct arena *a)
{
	if (atomic_exchange(&a->unsettled, false))
		slab_each(a, settle_one, a);
}

void slab_check_dissolved(const struct slab *s)
{
	struct stretch st;
	size_t used = 0;
	uintptr_t end;

	ASSERT(arena_of((struct chunk *)(s->base - CHUNK_HEADER), &end) == slab_arena(s));
	for (size_t i = 0; next_stretch(s, i, &st); i = st.end) {
		const struct chunk *c = (const struct chunk *)chunk_of_slot(s, st.first);

		ASSERT(chunk_inuse(c) && chunk_size(c) >= (st.end - st.first) * s->slot_bytes);
		for (size_t slot = st.first; slot < st.end; slot++)
			ASSERT(pagemap_slab((void *)(s->base + slot * s->slot_bytes)) == s);
		used += st.end - st.first;
	}
	ASSERT(used == s->used && used != 0);
}

/* The descriptor may become another's meanwhile. */
static bool is_block(const struct slab *s, const void *mem)
{
	uintptr_t offset = (uintptr_t)mem - __atomic_load_n(&s->base, __ATOMIC_RELAXED);
	size_t i = slab_index(s, mem);

	return offset < __atomic_load_n(&s->bytes, __ATOMIC_RELAXED) && i < SLAB_SLOTS_MAX && in_use(s, i);
}

struct slab *slab_of_slot(const void *mem)
{
	struct slab *s;
	bool is_slot;

	do {
		s = pagemap_slab(mem);
		if (s == NULL)
			return NULL;
		is_slot = likely(!slab_is_dissolved(s)) || is_block(s, mem);
	} while (unlikely(pagemap_slab(mem) != s));
	return is_slot ? s : NULL;
}

#include "malloc/slab.h"

#include "malloc/count.h"
#include "malloc/meta.h"
#include "malloc/pagemap.h"
#include "malloc/secure.h"

#define AHEAD_MAX 8
#define SLOTS_MANY 1024
#define SLAB_PAGES_MAX ((size_t)16)
#define BLOCK_SLABS 31 /* with the header: 4 KiB */

/* Descriptors of one arena. */
struct slab_block {
	struct slab_block *next;
	_Alignas(META_ALIGN) struct slab slabs[BLOCK_SLABS];
};

const uint8_t slot_classes[SLOT_MAX / 16 + 1] = {
	[0] = CLASS_ZERO, [1] = 0, [2] = 1, [3] = 2, [4] = 3, [5] = 4, [6] = 5, [7] = 6, [8] = 7, [9] = 8, [10] = 9,
	[11] = 10, [12] = 11, [13] = 12, [14] = 13, [15] = 14, [16] = 15, [17 ... 18] = 16, [19 ... 20] = 17,
	[21 ... 22] = 18, [23 ... 24] = 19, [25 ... 26] = 20, [27 ... 28] = 21, [29 ... 30] = 22,
	[31 ... 32] = 23, [33 ... 36] = 24, [37 ... 40] = 25, [41 ... 44] = 26, [45 ... 48] = 27,
	[49 ... 52] = 28, [53 ... 56] = 29, [57 ... 60] = 30, [61 ... 64] = 31, [65 ... 72] = 32,
	[73 ... 80] = 33, [81 ... 88] = 34, [89 ... 96] = 35, [97 ... 104] = 36, [105 ... 112] = 37,
	[113 ... 120] = 38, [121 ... 128] = 39, [129 ... 144] = 40, [145 ... 160] = 41, [161 ... 176] = 42,
	[177 ... 192] = 43, [193 ... 208] = 44, [209 ... 224] = 45, [225 ... 240] = 46, [241 ... 256] = 47,
	[257 ... 288] = 48, [289 ... 320] = 49, [321 ... 352] = 50, [353 ... 384] = 51, [385 ... 416] = 52,
	[417 ... 448] = 53, [449 ... 480] = 54, [481 ... 512] = 55,
};

static struct slab *descriptor_new(struct arena *a)
{
	struct slab *s = a->unused_slabs;

	if (s == NULL) {
		struct slab_block *b = meta_alloc(sizeof(*b));

		if (b == NULL)
			return NULL;
		b->next = a->slab_blocks;
		a->slab_blocks = b;
		for (unsigned i = BLOCK_SLABS; i-- > 0;) {
			b->slabs[i].arena = a->number;
			b->slabs[i].next = a->unused_slabs;
			a->unused_slabs = &b->slabs[i];
		}
		s = a->unused_slabs;
	}
	a->unused_slabs = s->next;
	return s;
}

void slab_descriptor_free(struct arena *a, struct slab *s)
{
	s->next = a->unused_slabs;
	a->unused_slabs = s;
}

/* Whole pages less the size field of the next chunk: slabs in a row leave no gap. */
static size_t slots_of(size_t pages, size_t slot_bytes)
{
	return MIN((pages * PAGE_SIZE - CHUNK_OVERHEAD) / slot_bytes, (size_t)SLAB_SLOTS_MAX);
}

static size_t left_over(size_t pages, size_t slot_bytes)
{
	return pages * PAGE_SIZE - slots_of(pages, slot_bytes) * slot_bytes;
}

/*
 * The fewest pages for so many slots of which no more than a sixteenth is left over, or not more than twice that many pages. Where slots
 * are wanted by the thousand what is left over counts: a 32nd, and up to 16 pages; of 4096 bytes 15 slots instead of 7 of 8.
 */
static size_t slab_pages(size_t slot_bytes, size_t slots)
{
	size_t most = MIN(MAX(SLAB_BYTES_MAX / slot_bytes, (size_t)SLAB_SLOTS_MIN), (size_t)SLAB_SLOTS_MAX);
	size_t least = DIV_ROUND_UP(MIN(slots, most) * slot_bytes, PAGE_SIZE), best = least;
	size_t last = slots >= SLOTS_MANY ? SLAB_PAGES_MAX : 2 * least, part = slots >= SLOTS_MANY ? 32 : 16;

	for (size_t pages = least; pages <= last; pages++) {
		if (left_over(pages, slot_bytes) * best < left_over(best, slot_bytes) * pages)
			best = pages;
		if (left_over(best, slot_bytes) <= best * PAGE_SIZE / part)
			break;
	}
	return best;
}

static void *slot_at(const struct slab *s, size_t i)
{
	return (void *)(s->base + i * s->slot_bytes);
}

/* The first of the slots that the bits of word i stand for. */
static void *first_of(const struct slab *s, size_t i, uint64_t bits)
{
	return slot_at(s, i * 64 + (size_t)__builtin_ctzll(bits));
}

/* The bits of word i that stand for slots. */
static uint64_t word_slots(const struct slab *s, size_t i)
{
	size_t slots = s->nr_slots > i * 64 ? s->nr_slots - i * 64 : 0;

	return slots >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << slots) - 1;
}

static void set_all_free(struct slab *s)
{
	for (size_t i = 0; i < SLAB_WORDS; i++)
		__atomic_store_n(&s->free[i], word_slots(s, i), __ATOMIC_RELEASE); /* slab_of_slot looks at the pagemap afterwards */
}

struct slab *slab_create(struct arena *a, struct tcache *owner, unsigned class, size_t slots)
{
	size_t slot_bytes = class_bytes(class);
	size_t pages = slab_pages(slot_bytes, slots);
	struct slab *s = descriptor_new(a);
	struct chunk *c;

	if (s == NULL)
		return NULL;
	c = arena_alloc_pages(a, pages);
	if (c == NULL || !pagemap_reserve((uintptr_t)chunk_mem(c), pages)) {
		if (c != NULL)
			arena_free(a, c);
		slab_descriptor_free(a, s);
		return NULL;
	}
	/* slab_of_slot may be looking at what the descriptor was before, and then at the pagemap again. */
	__atomic_store_n(&s->base, (uintptr_t)chunk_mem(c), __ATOMIC_RELAXED);
	s->class = (uint8_t)class;
	s->pages = (uint8_t)pages;
	s->slot_bytes = (uint16_t)slot_bytes;
	__atomic_store_n(&s->inverse, (uint32_t)((((uint64_t)1 << 32) + slot_bytes - 1) / slot_bytes), __ATOMIC_RELAXED);
	s->nr_slots = (uint16_t)slots_of(pages, slot_bytes);
	__atomic_store_n(&s->bytes, (uint16_t)(s->nr_slots * slot_bytes), __ATOMIC_RELAXED);
	s->used = 0;
	s->marked = 0;
	s->next = s->prev = NULL;
	atomic_store(&s->dissolved, false);
	set_all_free(s);
	atomic_store_explicit(&s->owner, owner, memory_order_release);
	pagemap_set(s->base, pages, s);
	count_add(&counts->class[class].slots, s->nr_slots);
	return s;
}

void slab_destroy(struct slab *s)
{
	struct chunk *c = mem_chunk((void *)s->base);
	struct arena *a = slab_arena(s);

	/* No slot is in use, and yet another thread freed one. */
	for (size_t i = 0; i < SLAB_WORDS; i++) {
		uint64_t bits = atomic_load_explicit(&s->remote[i], memory_order_relaxed);

		if (unlikely(bits != 0))
			misuse("double free", first_of(s, i, bits));
	}
	count_add(&counts->class[s->class].slots, -(uint64_t)s->nr_slots);
	pagemap_set(s->base, s->pages, NULL);
	atomic_store_explicit(&s->owner, NULL, memory_order_release);
	/* Its holder may be gone for ever: then the descriptor is lost with the arena. */
	if (arena_lock(a)) {
		slab_descriptor_free(a, s);
		arena_free(a, c);
		arena_unlock_freed(a);
	} else {
		arena_free_remote(a, c);
	}
}

/* Marks what was never handed out up to `last`, and what lies behind it: the next slot, and more in a page that is touched anyway. */
static void mark_new(struct slab *s, const void *last)
{
	uintptr_t secret = process_secret();
	size_t end = slab_slot(s, last) + 1, ahead = MIN(MAX(PAGE_SIZE / s->slot_bytes, (size_t)2) - 1, (size_t)AHEAD_MAX);

	if (end < s->marked)
		return;
	end = MIN(end + ahead, (size_t)s->nr_slots);

	size_t slot_bytes = s->slot_bytes;
	uintptr_t first = s->base + s->marked * slot_bytes, stop = s->base + end * slot_bytes;
	bool secure = secure_slab(s);

	for (uintptr_t mem = first; mem < stop; mem += slot_bytes) {
		if (unlikely(secure))
			secure_format((void *)mem, slot_bytes);
		*(uintptr_t *)mem = free_mark(secret, (void *)mem);
	}
	s->marked = (uint16_t)end;
}

void slab_look(const struct slab *s, size_t slots)
{
	for (size_t i = s->marked - MIN((size_t)s->marked, slots); i < s->marked; i++) {
		const uintptr_t *mem = slot_at(s, i);

		if ((slab_word(s, i / 64) >> i % 64 & 1) != 0 && unlikely(*mem != free_mark(process_secret(), mem)))
			misuse("write to a freed block", mem);
	}
}

uint32_t slab_take(struct slab *s, uint32_t n, void **mem)
{
	size_t slot_bytes = s->slot_bytes;
	uint32_t got = 0;

	for (size_t i = 0; i < SLAB_WORDS && got < n; i++) {
		uint64_t w = slab_word(s, i);
		uintptr_t base = s->base + i * 64 * slot_bytes;

		if (w == 0)
			continue;
		for (; w != 0 && got < n; w &= w - 1)
			mem[n - ++got] = (void *)(base + (size_t)__builtin_ctzll(w) * slot_bytes);
		slab_set_word(s, i, w);
	}
	s->used = (uint16_t)(s->used + got);
	if (got != 0)
		mark_new(s, mem[n - got]);
	return got;
}

static bool has_remote(const struct slab *s)
{
	for (size_t i = 0; i < SLAB_WORDS; i++)
		if (atomic_load(&s->remote[i]) != 0)
			return true;
	return false;
}

static void push_pending(struct slab *s)
{
	struct tcache *owner;

	while ((owner = atomic_load(&s->owner)) == NULL) {
		atomic_store(&s->pending, false);
		if (slab_is_dissolved(s))
			return;
		/* It became somebody's slab just now, and a block was freed to it before we looked: that one saw pending set. */
		if (!has_remote(s) || atomic_exchange(&s->pending, true))
			return;
	}
	tcache_push_remote(owner, s);
}

/*
 * Nothing is forgotten: the bit is set before pending is read, and the owner
 * clears pending before it reads the bits, all in one total order.
 *
 * Between our bit and the rest the owner may take the bit over (others had
 * set pending), find the slab empty and give it back. Then we push a descriptor
 * that is unused or somebody else's by now. So pending belongs to the
 * descriptor, not to the slab; who pops looks whose it is (slab_popped).
 */
void slab_free_remote(struct slab *s, const uint64_t bits[SLAB_WORDS])
{
	uint64_t *used = &counts->class[s->class].used, n = 0;
	uintptr_t base = s->base;

	for (size_t i = 0; i < SLAB_WORDS; i++) {
		if (bits[i] == 0)
			continue;

		/* In this order: once a bit is in remote, the owner may move it. */
		uint64_t twice = slab_word(s, i) & bits[i];

		twice |= atomic_fetch_or(&s->remote[i], bits[i]) & bits[i];
		if (unlikely(twice != 0))
			misuse("double free", first_of(s, i, twice));
		n += (uint64_t)__builtin_popcountll(bits[i]);
	}
	count_add(used, -n);
	if (unlikely(slab_is_dissolved(s)))
		slab_settle(s, base);
	else if (!atomic_load(&s->pending) && !atomic_exchange(&s->pending, true))
		push_pending(s);
}

bool slab_collect(struct slab *s)
{
	unsigned taken = 0;

	for (size_t i = 0; i < SLAB_WORDS; i++) {
		if (atomic_load_explicit(&s->remote[i], memory_order_relaxed) == 0)
			continue;

		uint64_t bits = atomic_exchange(&s->remote[i], 0), w = slab_word(s, i);

		if (unlikely((bits & w) != 0))
			misuse("double free", first_of(s, i, bits & w));
		slab_set_word(s, i, w | bits);
		taken += (unsigned)__builtin_popcountll(bits);
	}
	s->used = (uint16_t)(s->used - taken);
	return taken != 0;
}

bool slab_popped(struct slab *s, const struct tcache *by)
{
	atomic_store(&s->pending, false);
	if (atomic_load(&s->owner) == by)
		return true;
	if (has_remote(s) && !atomic_exchange(&s->pending, true))
		push_pending(s);
	return false;
}

size_t slab_free_slots(const struct slab *s)
{
	size_t n = 0;

	for (size_t i = 0; i < SLAB_WORDS; i++)
		n += (size_t)__builtin_popcountll(slab_word(s, i) |
						  atomic_load_explicit(&s->remote[i], memory_order_relaxed));
	return n;
}

void slab_each(struct arena *a, void (*fn)(void *ctx, struct slab *s), void *ctx)
{
	for (struct slab_block *b = a->slab_blocks; b != NULL; b = b->next)
		for (unsigned i = 0; i < BLOCK_SLABS; i++) {
			struct slab *s = &b->slabs[i];

			if (atomic_load_explicit(&s->owner, memory_order_acquire) != NULL || (slab_is_dissolved(s) && s->used != 0))
				fn(ctx, s);
		}
}

void slab_check(const struct slab *s)
{
	size_t free_slots = 0;
	uintptr_t end;

	for (size_t i = 0; i < SLAB_WORDS; i++) {
		uint64_t w = slab_word(s, i), r = atomic_load(&s->remote[i]);

		ASSERT((w & r) == 0 && ((w | r) & ~word_slots(s, i)) == 0);
		free_slots += (size_t)__builtin_popcountll(w);
	}
	ASSERT((s->used & (SLAB_FULL - 1)) + free_slots == s->nr_slots);
	ASSERT((s->used & SLAB_FULL) == 0 || free_slots == 0);
	for (size_t i = 0; i < s->nr_slots; i++)
		if ((slab_word(s, i / 64) >> i % 64 & 1) == 0)
			ASSERT(i < s->marked);
		else if (i < s->marked)
			ASSERT(*(uintptr_t *)slot_at(s, i) == free_mark(process_secret(), slot_at(s, i)));
	for (size_t page = 0; page < s->pages; page++)
		ASSERT(pagemap_slab((void *)(s->base + page * PAGE_SIZE)) == s);
	ASSERT(chunk_inuse(mem_chunk((void *)s->base)));
	ASSERT(arena_of(mem_chunk((void *)s->base), &end) == slab_arena(s));
}

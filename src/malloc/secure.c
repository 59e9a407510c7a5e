/*
 * STEWARD_MALLOC=secure: more is found, for more time. Every malloc and free
 * takes the slow way (tcache_no_shortcuts) and comes by here.
 *
 *   ├ the bytes asked for ┤ pad ┤ trailer ┤      a slot of a slab, or a chunk of an arena
 *
 *   trailer  8 bytes: a key of the address and the process, with the length of the pad or FREE in it.
 *            So one byte too many is found when the block comes back, and a double free as long as the
 *            slot is not in use again.
 *   zero     a block is cleared when it is freed, and must still be zero when it is handed out again.
 *   wait     freed blocks wait in a ring, their thread's quarantine, before they can be handed out.
 *   random   the slots that a refill takes are handed out in random order (secure_shuffle), large
 *            blocks lie at random distances (mapped.c).
 *   patrol   each call looks at the block that the last one handed out and at the trailer before it, and
 *            at the block freed last; free looks at 32 bytes on both sides. So most writes that go astray
 *            are found by the next call.
 *
 * Slots are looked at while their neighbours belong to other threads. A trailer
 * says CHANGING while pad or bytes do not fit it; who finds something wrong looks
 * whether the trailer is still what it was before he believes it.
 *
 * Blocks from before the mode was switched on (those of ld.so) have no trailer:
 * they are in slabs of a cache without `secure`, or chunks that are not SEALED.
 */
#include "malloc/secure.h"

#include <string.h>

#include "malloc/control.h"
#include "malloc/meta.h"
#include "malloc/pagemap.h"

#define TRAILER sizeof(uint64_t)
#define AROUND 32
#define WAITING_MAX 256u
#define WAITING_BYTES ((size_t)512 << 10)
#define WAITING_BLOCK_MAX (WAITING_BYTES / 4)

#define CODE_SHIFT 16
#define CODE_MASK ((uint64_t)0xffffffff << CODE_SHIFT)
enum { FREE = UINT32_MAX, CHANGING = UINT32_MAX - 1, BROKEN = UINT32_MAX - 2 }; /* else: bytes of pad */

struct secure {
	uint64_t random;
	void *handed_out;             /* by the last call: a slot of this cache */
	void *freed;                  /* by the last call: waits */
	size_t bytes;                 /* of the blocks that wait */
	unsigned first, n;
	void *waiting[WAITING_MAX];   /* a ring */
};

static uintptr_t secret; /* process_secret(), at hand */

void malloc_secure(void)
{
	secret = process_secret();
	params.fixed_thresholds = true;
	params.perturb = 0;
	atomic_store(&params.secure, true);
	tcache_no_shortcuts();
	tcache_forget();
}

struct secure *secure_new(void)
{
	struct secure *q = meta_alloc(sizeof(*q));

	if (q != NULL)
		q->random = process_secret() ^ (uintptr_t)q;
	return q;
}

/*
 * Trailers
 */

/* No byte at either end of a trailer is ever 0: a string that ends one byte late is to be found. */
static uint64_t key_of(const void *mem)
{
	uint64_t x = ((uintptr_t)mem ^ secret) * 0x9e3779b97f4a7c15u;

	return (x ^ x >> 29) | (uint64_t)0x80 << 56 | 1;
}

static uint8_t pad_byte(const void *mem)
{
	return (uint8_t)(key_of(mem) >> 8 | 1);
}

static uint64_t *trailer_at(const void *mem, size_t room)
{
	return (uint64_t *)((uintptr_t)mem + room - TRAILER);
}

static uint64_t encode(const void *mem, uint32_t code)
{
	return key_of(mem) ^ (uint64_t)code << CODE_SHIFT;
}

static uint32_t decode(const void *mem, size_t room, uint64_t trailer)
{
	uint64_t x = trailer ^ key_of(mem);
	uint32_t code = (uint32_t)(x >> CODE_SHIFT);

	if ((x & ~CODE_MASK) != 0 || (code > room - TRAILER && code != FREE && code != CHANGING))
		return BROKEN;
	return code;
}

static uint32_t state_of(const void *mem, size_t room)
{
	return decode(mem, room, __atomic_load_n(trailer_at(mem, room), __ATOMIC_ACQUIRE));
}

/* What was written to the block before is seen before this. */
static void set_state(void *mem, size_t room, uint32_t code)
{
	__atomic_store_n(trailer_at(mem, room), encode(mem, code), __ATOMIC_RELEASE);
}

static void seal(void *mem, size_t room, size_t bytes)
{
	size_t pad = room - TRAILER - bytes;

	set_state(mem, room, CHANGING);
	atomic_thread_fence(memory_order_release);
	memset((uint8_t *)mem + bytes, pad_byte(mem), pad);
	set_state(mem, room, (uint32_t)pad);
}

static bool all_are(const uint8_t *p, size_t n, uint8_t value)
{
	for (; n > 0 && (uintptr_t)p % 8 != 0; n--)
		if (*p++ != value)
			return false;
	for (uint64_t words = value * 0x0101010101010101u; n >= 8; n -= 8, p += 8)
		if (*(const uint64_t *)p != words)
			return false;
	for (; n > 0; n--)
		if (*p++ != value)
			return false;
	return true;
}

static bool pad_is_whole(const void *mem, size_t room, uint32_t pad)
{
	return all_are((const uint8_t *)mem + room - TRAILER - pad, pad, pad_byte(mem));
}

static void beyond(const void *mem)
{
	misuse("write beyond the end of a block", mem);
}

void secure_format(void *slot, size_t slot_bytes)
{
	memset(slot, 0, slot_bytes - TRAILER);
	set_state(slot, slot_bytes, FREE);
}

size_t secure_requested(void *mem, size_t room)
{
	uint32_t state = state_of(mem, room);

	if (state == FREE || state == CHANGING)
		misuse("use of a freed block", mem);
	if (state == BROKEN || !pad_is_whole(mem, room, state))
		beyond(mem);
	return room - TRAILER - state;
}

bool secure_resize(void *mem, size_t room, size_t bytes)
{
	if (bytes > room - TRAILER || bytes < room / 2)
		return false;
	seal(mem, room, bytes);
	return true;
}

/*
 * The patrol
 */

/* The first word of a free slot may be its mark. */
static bool is_clear(const uint8_t *mem, size_t from, size_t to)
{
	if (from == 0) {
		uint64_t word = __atomic_load_n((const uint64_t *)mem, __ATOMIC_RELAXED);

		if (word != 0 && word != free_mark(secret, mem))
			return false;
		from = sizeof(word);
	}
	return to <= from || all_are(mem + from, to - from, 0);
}

/* Of a slot that anybody may hold: its trailer, its pad, and if it is free its bytes [from, to). */
static inline void look_at(const uint8_t *mem, size_t room, size_t from, size_t to)
{
	uint32_t state = state_of(mem, room);
	bool good = state != BROKEN;

	if (state == FREE)
		good = is_clear(mem, from, MIN(to, room - TRAILER));
	else if (good && state != CHANGING)
		good = pad_is_whole(mem, room, state);
	if (likely(good))
		return;
	atomic_thread_fence(memory_order_acquire);
	if (state_of(mem, room) == state)
		misuse(state == FREE ? "write to a freed block" : "write beyond the end of a block", mem);
}

/* The slots within AROUND bytes of slot i. */
static void look_around(const struct slab *s, size_t i)
{
	size_t room = s->slot_bytes, n = DIV_ROUND_UP((size_t)AROUND, room);
	size_t marked = __atomic_load_n(&s->marked, __ATOMIC_RELAXED);

	for (size_t j = i - MIN(i, n); j <= i + n && j < marked; j++)
		if (j < i)
			look_at((const uint8_t *)s->base + j * room, room, room - MIN(room, (size_t)AROUND), room);
		else if (j > i)
			look_at((const uint8_t *)s->base + j * room, room, 0, AROUND);
}

/* One mapping that was handed out lately: here until it has been looked at, so that who unmaps it waits for that. */
static struct lock mapped_lock;
static _Atomic(const struct chunk *) mapped_handed_out;

/* Not if another one is to be looked at yet. */
static void hand_out_mapped(const void *mem)
{
	const struct chunk *none = NULL;

	atomic_compare_exchange_strong(&mapped_handed_out, &none, mem_chunk(mem));
}

static void look_at_mapped(void)
{
	const struct chunk *c;

	if (atomic_load_explicit(&mapped_handed_out, memory_order_relaxed) == NULL || !lock_try(&mapped_lock))
		return;
	c = atomic_load(&mapped_handed_out);
	if (c != NULL && !mapped_valid(c))
		misuse("write before the beginning of a block", chunk_mem(c));
	atomic_store(&mapped_handed_out, NULL);
	lock_release(&mapped_lock);
}

void secure_forget_mapped(const struct chunk *c)
{
	const uint64_t second = 1000 * 1000 * 1000;

	if (atomic_load(&mapped_handed_out) != c)
		return;
	/* Not had: its holder stands still, or is a frame that a signal handler interrupted, which is this one. */
	if (lock_timed(&mapped_lock, second)) {
		atomic_store(&mapped_handed_out, NULL);
		lock_release(&mapped_lock);
	}
}

void secure_fork_child(void)
{
	atomic_store(&mapped_handed_out, NULL);
	lock_reset(&mapped_lock);
}

static size_t room_of(const void *mem)
{
	const struct slab *s = pagemap_slab(mem);

	return s != NULL ? s->slot_bytes : chunk_usable(mem_chunk(mem));
}

/* Only this thread gives slabs of its cache back, so they can be looked at as long as the pagemap has them. */
static void patrol(struct tcache *t)
{
	struct secure *q = t->secure;
	const uint8_t *mem = q->handed_out;

	if (mem != NULL) {
		const struct slab *s = pagemap_slab(mem);

		if (s != NULL && atomic_load(&s->owner) == t) {
			look_at(mem, s->slot_bytes, 0, AROUND);
			if ((uintptr_t)mem != s->base)
				look_at(mem - s->slot_bytes, s->slot_bytes, s->slot_bytes, s->slot_bytes);
		}
		q->handed_out = NULL;
	}
	mem = q->freed;
	if (mem != NULL) {
		look_at(mem, room_of(mem), 0, AROUND);
		q->freed = NULL;
	}
	look_at_mapped();
}

/*
 * The quarantine
 */

/* The flag is beside one that others change under the lock. False: it is not to be had. */
static bool mark_chunk(struct chunk *c, bool sealed)
{
	uintptr_t end;
	struct arena *a = arena_of(c, &end);

	if (!arena_lock(a))
		return false;
	chunk_set_head(c, sealed ? chunk_head(c) | SEALED : chunk_head(c) & ~SEALED);
	arena_unlock(a);
	return true;
}

/* It has waited, or will not. */
static void give_back(void *mem)
{
	struct slab *s = pagemap_slab(mem);
	struct chunk *c = mem_chunk(mem);
	uintptr_t end;

	if (s == NULL) {
		/* Else its arena is lost, and this block with it. */
		if (mark_chunk(c, false))
			arena_free_remote(arena_of(c, &end), c);
	} else if (atomic_load(&s->owner) == tcache_own) {
		tcache_push(tcache_own, s, mem);
	} else {
		outbox_put(s, slab_slot(s, mem), mem);
	}
}

static void let_go_oldest(struct secure *q)
{
	void *mem = q->waiting[q->first];
	size_t room = room_of(mem);

	q->first = (q->first + 1) % WAITING_MAX;
	q->n--;
	q->bytes -= room;
	if (unlikely(state_of(mem, room) != FREE || !all_are(mem, room - TRAILER, 0)))
		misuse("write to a freed block", mem);
	give_back(mem);
}

static void wait(struct tcache *t, void *mem, size_t room)
{
	struct secure *q = t != NULL ? t->secure : NULL;

	if (q == NULL || room > WAITING_BLOCK_MAX) {
		give_back(mem);
		return;
	}
	while (q->n == WAITING_MAX || q->bytes + room > WAITING_BYTES)
		let_go_oldest(q);
	q->waiting[(q->first + q->n++) % WAITING_MAX] = mem;
	q->bytes += room;
	q->freed = mem;
}

void secure_flush(struct tcache *t)
{
	if (t->secure != NULL)
		t->secure->freed = t->secure->handed_out = NULL;
	while (t->secure != NULL && t->secure->n > 0)
		let_go_oldest(t->secure);
}

/*
 * Malloc and free
 */

/* xorshift64 (Marsaglia 2003). */
static uint64_t random_below(struct secure *q, uint64_t n)
{
	q->random ^= q->random << 13;
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return (q->random >> 16) % n;
}

size_t secure_random(size_t n)
{
	return tcache_own != NULL && tcache_own->secure != NULL ? random_below(tcache_own->secure, n) : 0;
}

static void swap(void **slots, uint32_t i, uint32_t j)
{
	void *mem = slots[i];

	slots[i] = slots[j];
	slots[j] = mem;
}

/* The lowest goes last: what is written before the first slot of a slab hits no trailer. */
void secure_shuffle(struct tcache *t, void **slots, uint32_t n)
{
	if (n > 1)
		swap(slots, 0, n - 1);
	for (uint32_t i = n - 1; i > 1 && n > 1; i--)
		swap(slots, i, 1 + (uint32_t)random_below(t->secure, i));
}

static void *hand_out_slot(struct slab *s, uint8_t *mem, size_t bytes)
{
	if (unlikely(state_of(mem, s->slot_bytes) != FREE || !all_are(mem, s->slot_bytes - TRAILER, 0)))
		misuse("write to a freed block", mem);
	seal(mem, s->slot_bytes, bytes);
	tcache_own->secure->handed_out = mem;
	return mem;
}

void *secure_alloc(size_t bytes, size_t align, bool zeroed)
{
	struct tcache *t = tcache_get();
	struct slab *s;
	struct chunk *c;
	void *mem;

	if (t == NULL || t->secure == NULL || bytes > PTRDIFF_MAX - TRAILER || align > PTRDIFF_MAX - TRAILER - bytes)
		return malloc_plain(bytes, align, zeroed);
	patrol(t);
	if (bytes >= param_get(&params.mmap_threshold) && (mem = malloc_mapped(bytes, align)) != NULL) {
		hand_out_mapped(mem);
		return mem;
	}
	if (bytes == 0 && align == CHUNK_ALIGN)
		return malloc_plain(bytes, align, zeroed);
	mem = malloc_plain(bytes + TRAILER, align, false);
	if (mem == NULL)
		return NULL;
	s = pagemap_slab(mem);
	if (s != NULL)
		return hand_out_slot(s, mem, bytes);
	if (zeroed)
		memset(mem, 0, bytes);
	c = mem_chunk(mem);
	if ((chunk_head(c) & MMAPPED) == 0 && mark_chunk(c, true))
		seal(mem, chunk_usable(c), bytes);
	return mem;
}

void secure_free(struct slab *s, void *mem, size_t room)
{
	uint64_t trailer = __atomic_exchange_n(trailer_at(mem, room), encode(mem, CHANGING), __ATOMIC_SEQ_CST);
	uint32_t state = decode(mem, room, trailer);

	if (state == FREE || state == CHANGING)
		misuse("double free", mem);
	if (state == BROKEN || !pad_is_whole(mem, room, state))
		beyond(mem);
	memset(mem, 0, room - TRAILER);
	set_state(mem, room, FREE);
	if (s != NULL)
		look_around(s, slab_slot(s, mem));
	if (tcache_own != NULL && tcache_own->secure != NULL) {
		/* Looked at just now. */
		if (tcache_own->secure->handed_out == mem)
			tcache_own->secure->handed_out = NULL;
		patrol(tcache_own);
	}
	wait(tcache_own, mem, room);
}

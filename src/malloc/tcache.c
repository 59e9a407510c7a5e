#include "malloc/tcache.h"

#include <pthread.h>
#include <string.h>

#include "malloc/count.h"
#include "malloc/meta.h"
#include "malloc/pagemap.h"
#include "malloc/profile.h"
#include "malloc/secure.h"

#define TCACHE_IDLE 0u
#define TCACHE_BUSY 1u
#define FIRST_SLOTS 4      /* of the first slab of a class */
#define GROWTH_SHIFT 2     /* the next has this part of the slots the class has */
#define LOOK_SLOTS 8
#define WARM_CACHES 4      /* idle ones that keep their free slots */
#define LOOK_BYTES ((size_t)1 << 20) /* of new slabs, or */
#define LOOK_SHIFT 4       /* this part of all, from one look for sparse slabs to the next */
#define SPARSE_MIN ((size_t)64 << 10) /* bytes of a class's sparse slabs that are worth it */
#define HOLES_PER_SLOT 4

/* What stands before the first slot of a stack that has none. */
static void *nothing;
void **const tcache_no_tops[NR_CLASSES + 1] = { [0 ... NR_CLASSES] = &nothing + 1 };

/* The first thread's: it needs no memory. */
static struct tcache first_tcache;
static _Atomic(struct tcache *) all_tcaches = &first_tcache;
static _Atomic bool disabled, no_shortcuts;
static _Atomic unsigned nr_tcaches = 1, nr_idle = 1;

__thread struct tcache *tcache_fast = TCACHE_NONE;
__thread struct tcache *tcache_own;

/*
 * Slabs
 */

static void partial_add(struct bin *b, struct slab *s)
{
	s->next = NULL;
	s->prev = b->partial_last;
	if (s->prev != NULL)
		s->prev->next = s;
	else
		b->partial = s;
	b->partial_last = s;
}

static void partial_remove(struct bin *b, struct slab *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		b->partial = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	else
		b->partial_last = s->prev;
}

static void give_back(struct tcache *t, struct slab *s)
{
	t->bins[s->class].nr_slabs--;
	t->slab_bytes -= s->pages * PAGE_SIZE;
	slab_destroy(s);
}

void tcache_slab_freed(struct tcache *t, struct slab *s)
{
	struct bin *b = &t->bins[s->class];

	if ((s->used & SLAB_FULL) != 0) {
		s->used &= (uint16_t)~SLAB_FULL;
		partial_add(b, s);
	}
	if (s->used != 0 || s == b->current)
		return;
	/* One may wait for the next block, in a cache that somebody uses. */
	if (t == tcache_own && b->partial == s && s->next == NULL)
		return;
	partial_remove(b, s);
	give_back(t, s);
}

/* Blocks that came from the stack, or to it, since it was counted last. What it has from now on is `then`. */
static void count_used(struct tcache *t, unsigned class, uint32_t then)
{
	uint32_t now = tcache_held(t, class);

	if (now != t->told[class])
		count_add(&counts->class[class].used, (uint64_t)t->told[class] - now);
	t->told[class] = then;
}

/* The n oldest slots of a stack go back to their slabs. */
static void flush(struct tcache *t, unsigned class, uint32_t n)
{
	void **stack = t->bins[class].stack;
	uint32_t left = tcache_held(t, class) - n;
	struct slab *s = NULL;

	count_used(t, class, left);
	for (uint32_t i = 0; i < n; i++) {
		void *mem = stack[i];

		/* Neighbours were often freed one after the other. */
		if (s == NULL || (uintptr_t)mem - s->base >= s->bytes)
			s = pagemap_slab(mem);
		if (slab_free(s, slab_index(s, mem), mem)) {
			tcache_slab_freed(t, s);
			s = NULL; /* perhaps it is gone */
		}
	}
	for (uint32_t i = 0; i < left; i++)
		stack[i] = stack[i + n];
	t->top[class] = stack + left;
}

static void stack_set(struct tcache *t, unsigned class, void **stack, uint32_t n)
{
	__atomic_store_n(&t->bins[class].stack, stack, __ATOMIC_RELAXED);
	__atomic_store_n(&t->top[class], stack + n, __ATOMIC_RELAXED);
}

/* From now on the stack is full with max slots, more than it has; false: there is no memory for so many. */
static bool set_max(struct tcache *t, unsigned class, uint32_t max)
{
	struct bin *b = &t->bins[class];

	if (max > b->room) {
		uint32_t n = tcache_held(t, class);
		void **room = meta_alloc((1 + max) * sizeof(*room));

		if (room == NULL)
			return false;
		memcpy(room + 1, b->stack, n * sizeof(*room));
		stack_set(t, class, room + 1, n);
		b->room = max;
	}
	b->max = max;
	t->full[class] = b->stack + max;
	return true;
}

static void grow_stack(struct tcache *t, unsigned class)
{
	struct bin *b = &t->bins[class];
	uint32_t max = MIN(b->max * 2, b->limit);
	size_t bytes = (max - b->max) * class_bytes(class);

	if (max != b->max && t->stack_bytes + bytes <= tcache_budget(t) && set_max(t, class, max))
		t->stack_bytes += bytes;
}

/* A smaller stack leaves others more of the budget (tcache_budget). */
static void shrink_stack(struct tcache *t, unsigned class)
{
	struct bin *b = &t->bins[class];
	uint32_t max = MAX(b->max / 2, (uint32_t)STACK_SLOTS_MIN);

	if (t->secure != NULL || tcache_held(t, class) >= max || max == b->max)
		return;
	t->stack_bytes -= (b->max - max) * class_bytes(class);
	set_max(t, class, max);
}

/* Once a tick: what has not been used since the last one goes back, by and by. */
static void shrink_idle(struct tcache *t)
{
	uint32_t now = purge_ticks();

	if (likely(now == t->looked))
		return;
	t->looked = now;
	outbox_flush(t);
	chunk_cache_flush(t);
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		uint32_t n = tcache_held(t, class);

		if (n != 0 && n == t->held[class]) {
			flush(t, class, (n + 1) / 2);
			shrink_stack(t, class);
		}
		t->held[class] = tcache_held(t, class);
	}
}

__attribute__((cold)) void tcache_refuse(const struct slab *s, const void *mem)
{
	misuse(slab_has_marked(s, mem) ? "double free" : "free of an invalid pointer", mem);
}

void tcache_overflow(struct tcache *t, unsigned class)
{
	shrink_idle(t);
	grow_stack(t, class);
	if (t->top[class] == t->full[class])
		flush(t, class, t->bins[class].max / 2);
}

/* Takes over what others freed. */
static void collect(struct tcache *t)
{
	struct slab *s = atomic_exchange(&t->remote, NULL), *next;

	for (; s != NULL; s = next) {
		next = s->next_remote;
		if (slab_popped(s, t) && slab_collect(s))
			tcache_slab_freed(t, s);
	}
}

/* What is in the stack counts as in use. */
static size_t sparse_bytes(const struct bin *b)
{
	size_t bytes = 0;

	for (const struct slab *s = b->partial; s != NULL; s = s->next)
		if (slab_is_sparse(s))
			bytes += s->pages * PAGE_SIZE;
	return bytes;
}

void tcache_dissolve(struct tcache *t, size_t bytes_min)
{
	t->new_bytes = 0;
	if (t->secure != NULL || profile_is_on())
		return;
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		struct bin *b = &t->bins[class];
		struct slab *s, *next;

		if (b->asked || sparse_bytes(b) < bytes_min) {
			b->asked = false;
			continue;
		}
		flush(t, class, tcache_held(t, class));
		for (s = b->partial; s != NULL; s = next) {
			size_t bytes = s->pages * PAGE_SIZE;

			next = s->next;
			if (!slab_is_sparse(s))
				continue;
			partial_remove(b, s);
			if (!slab_dissolve(s)) {
				partial_add(b, s);
				return;
			}
			b->nr_slabs--;
			t->slab_bytes -= bytes;
			t->dissolved = true;
		}
	}
}

static struct slab *new_slab(struct tcache *t, unsigned class)
{
	struct bin *b = &t->bins[class];
	size_t slots = (size_t)b->nr_slabs * SLAB_SLOTS_MAX >> GROWTH_SHIFT;
	struct arena *a;
	struct slab *s;

	outbox_flush(t); /* a thread that needs more memory does not hold back that of others */
	if (t->new_bytes >= MAX(t->slab_bytes >> LOOK_SHIFT, LOOK_BYTES))
		tcache_dissolve(t, SPARSE_MIN);
	a = arena_acquire();
	if (a == NULL)
		return NULL;
	s = slab_create(a, t, class, MAX(slots, (size_t)FIRST_SLOTS));
	arena_unlock(a);
	if (s == NULL && a != &main_arena && arena_lock(&main_arena)) {
		s = slab_create(&main_arena, t, class, FIRST_SLOTS);
		arena_unlock(&main_arena);
	}
	if (s != NULL) {
		b->nr_slabs++;
		b->holes = b->nr_slabs * s->nr_slots * HOLES_PER_SLOT;
		t->slab_bytes += s->pages * PAGE_SIZE;
		t->new_bytes += s->pages * PAGE_SIZE;
	}
	return s;
}

/* Another slab with free slots becomes the current one; false: no memory, or `cheap` and there is none yet. */
static bool next_slab(struct tcache *t, unsigned class, bool cheap)
{
	struct bin *b = &t->bins[class];
	struct slab *s = b->partial;

	if (b->current != NULL)
		b->current->used |= SLAB_FULL;
	b->current = NULL;
	if (s != NULL)
		partial_remove(b, s);
	else if (cheap || (s = new_slab(t, class)) == NULL)
		return false;
	b->current = s;
	return true;
}

/* Of the class that was refilled before: the slots that come next, and the last ones of its slab, have their marks. */
static void look_over(struct tcache *t)
{
	const struct bin *b = &t->bins[t->refilled];
	uint32_t n = tcache_held(t, t->refilled);

	for (uint32_t i = n - MIN(n, (uint32_t)LOOK_SLOTS); i < n; i++) {
		uintptr_t *mem = b->stack[i];

		if (unlikely(*mem != tcache_mark(t, mem)))
			misuse("write to a freed block", mem);
	}
	if (b->current != NULL)
		slab_look(b->current, LOOK_SLOTS);
}

/* Fills the empty stack of a class; false: no memory. */
static bool refill(struct tcache *t, unsigned class)
{
	struct bin *b = &t->bins[class];
	uint32_t want, got = 0;
	void **slots;

	shrink_idle(t);
	if (b->current != NULL)
		grow_stack(t, class);
	slots = b->stack;
	want = t->secure != NULL ? b->max - 1 : b->max / 2;
	look_over(t);
	if (atomic_load_explicit(&t->remote, memory_order_relaxed) != NULL)
		collect(t);
	do {
		if (b->current != NULL)
			got += slab_take(b->current, want - got, slots);
	} while (got < want && next_slab(t, class, got != 0));
	/* They lie at the end, the first on top. */
	if (got < want)
		for (uint32_t i = 0; i < got; i++)
			slots[i] = slots[i + want - got];
	if (unlikely(t->secure != NULL))
		secure_shuffle(t, slots, got);
	count_used(t, class, got);
	t->top[class] = slots + got;
	t->refilled = class;
	b->asked = true;
	if (profile_is_on())
		profile_refilled(got * class_bytes(class));
	return got != 0;
}

/* Which way this thread takes from now on. */
static void set_way(struct tcache *t)
{
	tcache_fast = atomic_load_explicit(&no_shortcuts, memory_order_relaxed) ? TCACHE_NONE : t;
}

void tcache_no_shortcuts(void)
{
	atomic_store_explicit(&no_shortcuts, true, memory_order_relaxed);
	if (tcache_own != NULL)
		set_way(tcache_own);
}

void tcache_forget(void)
{
	if (tcache_own != NULL)
		outbox_flush(tcache_own);
	tcache_fast = TCACHE_NONE;
	tcache_own = NULL;
}

void *tcache_alloc(struct tcache *t, unsigned class)
{
	void *mem = tcache_pop(t, class);

	if (mem != NULL)
		return mem;
	set_way(t);
	return refill(t, class) ? tcache_pop(t, class) : NULL;
}

static bool has_slots(struct tcache *t, unsigned class)
{
	const struct bin *b = &t->bins[class];

	if (tcache_held(t, class) != 0 || b->partial != NULL)
		return true;
	return b->current != NULL && b->current->used != b->current->nr_slots;
}

struct chunk *tcache_alloc_hole(struct tcache *t, unsigned class, size_t size)
{
	struct bin *b = &t->bins[class];
	struct chunk *c = NULL;
	struct arena *a;

	if (likely(!t->dissolved) || b->holes == 0)
		return NULL;
	if (atomic_load_explicit(&t->remote, memory_order_relaxed) != NULL)
		collect(t);
	if (has_slots(t, class) || (a = arena_acquire()) == NULL)
		return NULL;
	if (a->dissolved != 0)
		c = arena_alloc_hole(a, size);
	arena_unlock(a);
	if (c == NULL) {
		b->holes = 0;
		return NULL;
	}
	b->holes--;
	return c;
}

/* Gives back all slabs of a class without a block in use; of a cache that is left, lists the current one. */
static bool settle(struct tcache *t, unsigned class, bool leave)
{
	struct bin *b = &t->bins[class];
	struct slab *s, *next;
	bool done = false;

	flush(t, class, tcache_held(t, class));
	s = b->current;
	if (s != NULL && (leave || s->used == 0)) {
		b->current = NULL;
		if (s->used == s->nr_slots)
			s->used |= SLAB_FULL;
		else
			partial_add(b, s);
	}
	for (s = b->partial; s != NULL; s = next) {
		next = s->next;
		if (s->used != 0)
			continue;
		partial_remove(b, s);
		give_back(t, s);
		done = true;
	}
	return done;
}

static bool settle_all(struct tcache *t, bool leave)
{
	bool done = chunk_cache_flush(t);

	outbox_flush(t);
	collect(t);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		done |= settle(t, class, leave);
	return done;
}

/*
 * Threads
 */

static bool claim(struct tcache *t)
{
	uint32_t idle = TCACHE_IDLE;

	if (atomic_load_explicit(&t->state, memory_order_relaxed) != TCACHE_IDLE ||
	    !atomic_compare_exchange_strong(&t->state, &idle, TCACHE_BUSY))
		return false;
	atomic_fetch_sub(&nr_idle, 1);
	return true;
}

/* Nobody's from now on; a few stay as they are, for threads often follow each other. What is freed to it meanwhile or later is collected by who frees it. */
static void release(struct tcache *t)
{
	do {
		if (atomic_load(&nr_idle) < WARM_CACHES)
			collect(t);
		else
			settle_all(t, true);
		atomic_fetch_add(&nr_idle, 1);
		atomic_store(&t->state, TCACHE_IDLE);
	} while (atomic_load(&t->remote) != NULL && claim(t));
}

void tcache_push_remote(struct tcache *t, struct slab *s)
{
	struct slab *head = atomic_load_explicit(&t->remote, memory_order_relaxed);

	do
		s->next_remote = head;
	while (!atomic_compare_exchange_weak(&t->remote, &head, s));
	if (unlikely(atomic_load(&t->state) == TCACHE_IDLE) && claim(t))
		release(t);
}

static void thread_ends(void *t)
{
	secure_flush(t);
	tcache_forget();
	release(t);
}

/*
 * Has thread_ends called; also for the main thread, which may end before others do. A destructor of the program that allocates later gets a
 * cache again, and us another round of destructors.
 */
static void watch_thread(struct tcache *t)
{
	enum { NO_KEY, MAKING_KEY, HAVE_KEY };
	static _Atomic uint32_t have_key;
	static pthread_key_t key;
	uint32_t no_key = NO_KEY;

	if (atomic_compare_exchange_strong(&have_key, &no_key, MAKING_KEY))
		atomic_store(&have_key, pthread_key_create(&key, thread_ends) == 0 ? HAVE_KEY : NO_KEY);
	if (atomic_load_explicit(&have_key, memory_order_acquire) == HAVE_KEY)
		pthread_setspecific(key, t);
}

static struct tcache *new_tcache(void)
{
	struct tcache *t = meta_alloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	atomic_store_explicit(&t->state, TCACHE_BUSY, memory_order_relaxed);

	struct tcache *head = atomic_load(&all_tcaches);

	atomic_fetch_add(&nr_tcaches, 1);
	do
		atomic_store_explicit(&t->next, head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&all_tcaches, &head, t));
	return t;
}

/* What a cache needs before its first block. */
static void prepare(struct tcache *t)
{
	if (t->secret != 0)
		return;
	t->secret = process_secret();
	t->secure = secure_mode() ? secure_new() : NULL;
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		struct bin *b = &t->bins[class];

		b->limit = (uint32_t)MIN(MAX(STACK_BYTES / class_bytes(class), (size_t)STACK_SLOTS_MIN), (size_t)STACK_SLOTS_MAX);
		b->room = STACK_ROOM;
		stack_set(t, class, &t->slots[class][1], 0);
		set_max(t, class, STACK_SLOTS_MIN);
		if (t->secure != NULL)
			set_max(t, class, MAX(b->limit / 2, (uint32_t)STACK_SLOTS_MIN));
	}
	t->top[CLASS_ZERO] = tcache_no_tops[CLASS_ZERO];
}

static struct tcache *next_tcache(struct tcache *t)
{
	return atomic_load_explicit(&t->next, memory_order_acquire);
}

struct tcache *tcache_get(void)
{
	struct tcache *t = tcache_own;

	if (likely(t != NULL) || atomic_load_explicit(&disabled, memory_order_relaxed))
		return t;
	for (t = atomic_load(&all_tcaches); t != NULL && !claim(t);)
		t = next_tcache(t);
	if (t == NULL)
		t = new_tcache();
	if (t == NULL)
		return NULL;
	prepare(t);
	tcache_own = t;
	set_way(t);
	watch_thread(t);
	return t;
}

unsigned tcache_busy(void)
{
	unsigned all = atomic_load_explicit(&nr_tcaches, memory_order_relaxed);
	unsigned idle = atomic_load_explicit(&nr_idle, memory_order_relaxed);

	return all > idle ? all - idle : 1;
}

bool tcache_trim(void)
{
	bool done = tcache_own != NULL && settle_all(tcache_own, false);

	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		if (claim(t)) {
			done |= settle_all(t, true);
			release(t);
		}
	return done;
}

static void count_one(struct tcache *t, struct tcache_count *n)
{
	n->threads += atomic_load_explicit(&t->state, memory_order_relaxed) == TCACHE_BUSY;
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		size_t slots = tcache_held(t, class) + outbox_slots(t, class);

		n->slots[class] += slots;
		n->blocks += slots;
		n->bytes += slots * class_bytes(class);
	}
	for (unsigned i = 0; i < NR_CHUNK_STACKS; i++) {
		unsigned chunks = __atomic_load_n(&t->stacks[i].n, __ATOMIC_RELAXED);

		n->chunks += chunks;
		n->blocks += chunks;
	}
	n->bytes += __atomic_load_n(&t->cached_bytes, __ATOMIC_RELAXED);
}

void tcache_count(struct tcache_count *n)
{
	memset(n, 0, sizeof(*n));
	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		count_one(t, n);
}

void tcache_enable(bool on)
{
	struct tcache *t = tcache_own;

	atomic_store(&disabled, !on);
	if (!on && t != NULL)
		thread_ends(t);
}

static void check_bin(struct tcache *t, unsigned class)
{
	const struct bin *b = &t->bins[class];
	unsigned empty = 0;

	if (b->current != NULL)
		ASSERT(b->current->owner == t && b->current->class == class && (b->current->used & SLAB_FULL) == 0);
	for (const struct slab *s = b->partial; s != NULL; s = s->next) {
		ASSERT(s->owner == t && s->class == class && s != b->current);
		ASSERT(s->used < s->nr_slots);
		ASSERT(s->next == NULL ? b->partial_last == s : s->next->prev == s);
		empty += s->used == 0;
	}
	ASSERT(empty <= 1);
	ASSERT(b->stack == NULL || b->stack[-1] == NULL);
	for (uint32_t i = 0; i < tcache_held(t, class); i++) {
		const void *mem = b->stack[i];
		const struct slab *s = pagemap_slab(mem);
		size_t slot = slab_slot(s, mem);

		ASSERT(s->owner == t && s->class == class && slot != SIZE_MAX);
		ASSERT((slab_word(s, slot / 64) >> slot % 64 & 1) == 0);
		ASSERT(*(const uintptr_t *)mem == tcache_mark(t, mem));
		for (uint32_t j = 0; j < i; j++)
			ASSERT(b->stack[j] != mem);
	}
}

static void check_owned(void *ctx, struct slab *s)
{
	struct tcache *t = ctx;

	if (atomic_load(&s->owner) == t)
		slab_check(s);
}

static void check_slabs(struct tcache *t)
{
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_lock(a))
			continue;
		slab_each(a, check_owned, t);
		arena_unlock(a);
	}
	for (unsigned class = 0; class < NR_CLASSES; class++)
		check_bin(t, class);
	outbox_check(t);
}

void tcache_check(void)
{
	if (tcache_own != NULL)
		check_slabs(tcache_own);
	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		if (claim(t)) {
			check_slabs(t);
			release(t);
		}
}

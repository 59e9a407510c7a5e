/*
 * The set of caches: how a thread gets one, what becomes of it when the thread
 * ends, and what happens to blocks that are freed to a cache whose thread does
 * not come by.
 *
 *   idle ──claim──► a thread's ──its end──► idle
 *                     │
 *                     └─ sleeps, or computes: its slabs fill `remote`, and who pushes them there looks after them
 *
 * A thread that frees many blocks of others looks at times whether their owner
 * has collected since the last such look. If not, it collects for it: it is at
 * the slabs in place of the owner, who would have to wait if it came (tcache_enter).
 * It looks each time that it has pushed a 32nd of the owner's memory, half a MiB at
 * least, and at its end; and so does the purger once a second.
 *
 * What the owner's short ways use, its stacks, nobody else touches.
 */
#include "malloc/tcache.h"

#include <pthread.h>
#include <string.h>

#include "malloc/control.h"
#include "malloc/meta.h"
#include "malloc/pagemap.h"
#include "malloc/secure.h"

enum { TCACHE_IDLE, TCACHE_BUSY, TCACHE_TENDED }; /* the last: for a moment, by who collects for it */

#define WARM_CACHES 4      /* idle ones that keep their free slots */
#define NAPS_MAX 20        /* of a thread that waits for one to be idle again */
#define FREES_WITHOUT 16   /* blocks that a thread frees without a cache of its own */
#define PUSHES_MIN 64      /* slabs that a thread has pushed from one look to the next, or … */
#define PUSHES_SHIFT 5     /* … this part of what the owner may have of 8 KiB each */

/* What stands before the first slot of a stack that has none. */
static void *nothing;
void **const tcache_no_tops[NR_CLASSES + 1] = { [0 ... NR_CLASSES] = &nothing + 1 };

/* The first thread's: it needs no memory. */
static struct tcache first_tcache;
static _Atomic(struct tcache *) all_tcaches = &first_tcache;
static _Atomic bool disabled, no_shortcuts;
static _Atomic unsigned nr_tcaches = 1, nr_idle = 1;
static _Atomic uint32_t generation; /* counts forks: what a thread that is not here left behind it may have left half done */

__thread struct tcache *tcache_fast = TCACHE_NONE;
__thread struct tcache *tcache_own;
static __thread unsigned frees_without; /* FREES_WITHOUT: it has had one, or got none */

void tcache_set_way(struct tcache *t)
{
	tcache_fast = atomic_load_explicit(&no_shortcuts, memory_order_relaxed) ? TCACHE_NONE : t;
}

void tcache_no_shortcuts(void)
{
	atomic_store_explicit(&no_shortcuts, true, memory_order_relaxed);
	if (tcache_own != NULL)
		tcache_set_way(tcache_own);
}

void tcache_forget(void)
{
	if (tcache_own != NULL)
		outbox_flush(tcache_own);
	tcache_fast = TCACHE_NONE;
	tcache_own = NULL;
}

/* It got its thread before a fork that left that one behind, or was idle then. */
static bool is_inherited(const struct tcache *t)
{
	return atomic_load_explicit(&t->generation, memory_order_relaxed) != atomic_load_explicit(&generation, memory_order_relaxed);
}

/* as: what it is from now on. False: it was not idle. */
static bool claim(struct tcache *t, uint32_t as)
{
	uint32_t idle = TCACHE_IDLE;

	if (atomic_load_explicit(&t->state, memory_order_relaxed) != TCACHE_IDLE ||
	    !atomic_compare_exchange_strong(&t->state, &idle, as))
		return false;
	atomic_fetch_sub(&nr_idle, 1);
	/* Somebody collected for it at the moment of a fork: it stays taken. */
	return likely(!is_inherited(t)) || atomic_load(&t->within) == TCACHE_ALONE;
}

/* Nobody's from now on; a few stay as they are, for threads often follow each other. What is freed to it meanwhile or later is collected by who frees it. */
static void release(struct tcache *t)
{
	do {
		uint32_t was = tcache_enter(t);

		if (unlikely(was == TCACHE_COLLECTOR))
			return; /* nobody's for ever */
		if (atomic_load(&nr_idle) < WARM_CACHES)
			tcache_collect(t);
		else
			tcache_settle(t, true);
		tcache_leave(t, was);
		atomic_fetch_add(&nr_idle, 1);
		atomic_store(&t->state, TCACHE_IDLE);
	} while (atomic_load(&t->remote) != NULL && claim(t, TCACHE_TENDED));
}

/* Collects for a thread that has not done so since the last look, or in any case. */
static void look_after(struct tcache *t, bool any)
{
	uint32_t alone = TCACHE_ALONE;

	if (is_inherited(t) || !atomic_compare_exchange_strong(&t->within, &alone, TCACHE_COLLECTOR))
		return;
	if (any || t->collected == t->seen)
		tcache_collect(t);
	t->seen = t->collected;
	atomic_store(&t->within, TCACHE_ALONE);
}

/* After many pushes, by the owner's memory. */
static bool is_time_to_look(const struct tcache *owner)
{
	struct tcache *t = tcache_own;

	if (t == NULL || ++t->pushes < MAX(tcache_slab_bytes(owner) / SLAB_BYTES_MAX >> PUSHES_SHIFT, (size_t)PUSHES_MIN))
		return false;
	t->pushes = 0;
	return true;
}

void tcache_push_remote(struct tcache *t, struct slab *s)
{
	struct slab *head = atomic_load_explicit(&t->remote, memory_order_relaxed);

	do
		s->next_remote = head;
	while (!atomic_compare_exchange_weak(&t->remote, &head, s));
	if (unlikely(atomic_load(&t->state) == TCACHE_IDLE) && claim(t, TCACHE_TENDED))
		release(t);
	else if (unlikely(is_time_to_look(t)))
		look_after(t, false);
}

static struct tcache *next_tcache(struct tcache *t)
{
	return atomic_load_explicit(&t->next, memory_order_acquire);
}

static void look_after_those_that_wait(bool any)
{
	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		if (atomic_load_explicit(&t->remote, memory_order_relaxed) != NULL)
			look_after(t, any);
}

void tcache_look_after_all(void)
{
	look_after_those_that_wait(false);
}

static void thread_ends(void *arg)
{
	struct tcache *t = arg;

	frees_without = FREES_WITHOUT;
	secure_flush(t);
	tcache_forget();
	if (t->pushes != 0)
		tcache_look_after_all();
	t->pushes = 0;
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

/* An idle cache, or NULL. One that is tended is worth a moment: a new one would need slabs of its own beside those that this one has. */
static struct tcache *claim_any(void)
{
	struct tcache *tended;

	for (unsigned naps = 0;; naps++) {
		tended = NULL;
		for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t)) {
			if (claim(t, TCACHE_BUSY))
				return t;
			if (atomic_load_explicit(&t->state, memory_order_relaxed) == TCACHE_TENDED && !is_inherited(t))
				tended = t;
		}
		if (likely(tended == NULL) || naps == NAPS_MAX)
			return NULL;
		lock_nap(&tended->state, TCACHE_TENDED);
	}
}

struct tcache *tcache_get(void)
{
	struct tcache *t = tcache_own;

	if (likely(t != NULL) || atomic_load_explicit(&disabled, memory_order_relaxed))
		return t;
	t = claim_any();
	if (t == NULL)
		t = new_tcache();
	if (t == NULL)
		return NULL;
	tcache_prepare(t);
	atomic_store_explicit(&t->generation, atomic_load_explicit(&generation, memory_order_relaxed), memory_order_relaxed);
	tcache_own = t;
	tcache_set_way(t);
	watch_thread(t);
	return t;
}

struct tcache *tcache_get_to_free(void)
{
	if (likely(tcache_own != NULL) || frees_without == FREES_WITHOUT || ++frees_without != FREES_WITHOUT)
		return tcache_own;
	return tcache_get();
}

unsigned tcache_busy(void)
{
	unsigned all = atomic_load_explicit(&nr_tcaches, memory_order_relaxed);
	unsigned idle = atomic_load_explicit(&nr_idle, memory_order_relaxed);

	return all > idle ? all - idle : 1;
}

static bool settle(struct tcache *t, bool leave)
{
	uint32_t was = tcache_enter(t);

	if (was == TCACHE_COLLECTOR)
		return false;

	bool done = tcache_settle(t, leave);

	tcache_leave(t, was);
	return done;
}

bool tcache_trim(void)
{
	bool done = tcache_own != NULL && settle(tcache_own, false);

	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		if (claim(t, TCACHE_TENDED)) {
			done |= settle(t, true);
			release(t);
		}
	look_after_those_that_wait(true);
	return done;
}

void tcache_fork_prepare(void)
{
	struct tcache *t = tcache_own;

	if (t == NULL || t->forks++ != 0)
		return;
	t->before_fork = tcache_enter(t);
	if (t->before_fork != TCACHE_COLLECTOR)
		return;
	t->forks = 0;
	tcache_forget();
}

void tcache_fork_parent(void)
{
	struct tcache *t = tcache_own;

	if (t != NULL && t->forks != 0 && --t->forks == 0)
		tcache_leave(t, t->before_fork);
}

void tcache_fork_child(void)
{
	uint32_t now = atomic_fetch_add(&generation, 1) + 1;

	if (tcache_own != NULL)
		atomic_store_explicit(&tcache_own->generation, now, memory_order_relaxed);
	tcache_fork_parent();
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
	uint32_t was = tcache_enter(t);

	ASSERT(was != TCACHE_COLLECTOR);
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
	tcache_leave(t, was);
}

void tcache_check(void)
{
	if (tcache_own != NULL)
		check_slabs(tcache_own);
	for (struct tcache *t = atomic_load(&all_tcaches); t != NULL; t = next_tcache(t))
		if (claim(t, TCACHE_TENDED)) {
			check_slabs(t);
			release(t);
		}
}

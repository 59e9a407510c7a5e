#include "malloc/tcache.h"

#include <string.h>

#include "malloc/count.h"
#include "malloc/meta.h"
#include "malloc/pagemap.h"
#include "malloc/profile.h"
#include "malloc/secure.h"

#define FIRST_SLOTS 4      /* of the first slab of a class */
#define GROWTH_SHIFT 2     /* the next has this part of the slots the class has */
#define LOOK_SLOTS 8
#define LOOK_BYTES ((size_t)1 << 20) /* of new slabs, or */
#define LOOK_SHIFT 4       /* this part of all, from one look for sparse slabs to the next */
#define SPARSE_MIN ((size_t)64 << 10) /* bytes of a class's sparse slabs that are worth it */
#define HOLES_PER_SLOT 4
#define SPINS 100
#define WAITS 4000         /* naps for the end of a collection: then whoever is at it was left behind by fork, or stands still */

uint32_t tcache_enter(struct tcache *t)
{
	for (unsigned waits = 0;; waits++) {
		uint32_t was = TCACHE_ALONE;

		if (likely(atomic_compare_exchange_strong(&t->within, &was, TCACHE_OWNER)) || was == TCACHE_OWNER || waits == SPINS + WAITS)
			return was;
		if (waits >= SPINS)
			lock_nap(&t->within, TCACHE_COLLECTOR);
	}
}

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

static void set_slab_bytes(struct tcache *t, size_t bytes)
{
	__atomic_store_n(&t->slab_bytes, bytes, __ATOMIC_RELAXED);
}

static void give_back(struct tcache *t, struct slab *s)
{
	t->bins[s->class].nr_slabs--;
	set_slab_bytes(t, t->slab_bytes - s->pages * PAGE_SIZE);
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
	uint32_t was = tcache_enter(t);

	if (unlikely(was == TCACHE_COLLECTOR)) {
		tcache_forget();
		return;
	}
	shrink_idle(t);
	grow_stack(t, class);
	if (t->top[class] == t->full[class])
		flush(t, class, t->bins[class].max / 2);
	tcache_leave(t, was);
}

void tcache_collect(struct tcache *t)
{
	struct slab *s = atomic_exchange(&t->remote, NULL), *next;

	for (; s != NULL; s = next) {
		next = s->next_remote;
		if (slab_popped(s, t) && slab_collect(s))
			tcache_slab_freed(t, s);
	}
	t->collected++;
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

static void dissolve_sparse(struct tcache *t, size_t bytes_min)
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
			set_slab_bytes(t, t->slab_bytes - bytes);
			t->dissolved = true;
		}
	}
}

void tcache_dissolve(struct tcache *t, size_t bytes_min)
{
	uint32_t was = tcache_enter(t);

	if (likely(was != TCACHE_COLLECTOR)) {
		dissolve_sparse(t, bytes_min);
		tcache_leave(t, was);
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
		dissolve_sparse(t, SPARSE_MIN);
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
		set_slab_bytes(t, t->slab_bytes + s->pages * PAGE_SIZE);
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
		tcache_collect(t);
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

void *tcache_alloc(struct tcache *t, unsigned class)
{
	void *mem = tcache_pop(t, class);

	if (mem != NULL)
		return mem;
	tcache_set_way(t);

	uint32_t was = tcache_enter(t);

	if (unlikely(was == TCACHE_COLLECTOR)) {
		tcache_forget();
		t = tcache_get();
		return t != NULL ? tcache_alloc(t, class) : NULL;
	}
	mem = refill(t, class) ? tcache_pop(t, class) : NULL;
	tcache_leave(t, was);
	return mem;
}

static bool has_slots(struct tcache *t, unsigned class)
{
	const struct bin *b = &t->bins[class];

	if (tcache_held(t, class) != 0 || b->partial != NULL)
		return true;
	return b->current != NULL && b->current->used != b->current->nr_slots;
}

static struct chunk *alloc_hole(struct tcache *t, unsigned class, size_t size)
{
	struct bin *b = &t->bins[class];
	struct chunk *c = NULL;
	struct arena *a;

	if (atomic_load_explicit(&t->remote, memory_order_relaxed) != NULL)
		tcache_collect(t);
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

struct chunk *tcache_alloc_hole(struct tcache *t, unsigned class, size_t size)
{
	if (likely(!t->dissolved) || t->bins[class].holes == 0)
		return NULL;

	uint32_t was = tcache_enter(t);

	if (unlikely(was == TCACHE_COLLECTOR))
		return NULL;

	struct chunk *c = alloc_hole(t, class, size);

	tcache_leave(t, was);
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

bool tcache_settle(struct tcache *t, bool leave)
{
	bool done = chunk_cache_flush(t);

	outbox_flush(t);
	tcache_collect(t);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		done |= settle(t, class, leave);
	return done;
}

void tcache_prepare(struct tcache *t)
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

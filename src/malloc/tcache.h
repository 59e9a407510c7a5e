/*
 * A thread's cache: what makes the common malloc and free a handful of
 * instructions, without a lock or an atomic operation.
 *
 *   slots[class]  a stack of free slots ready to be handed out
 *   bins[class]   ─► the current slab of the class, from which slots come next
 *                 ─► partial: other slabs that have free slots, oldest first
 *   stacks[..]    a few freed chunks of 8 to 64 KiB, not yet merged (chunkcache.c)
 *   remote        ◄─ slabs in which other threads freed something
 *   outbox[class] ─► what this thread freed of theirs (outbox.h)
 *
 * A stack that runs empty is filled from the lowest free slots of the current
 * slab, then of the partial ones; at last a slab is made, larger the more the
 * class already has. A stack that is full gives the older half back to the
 * slabs. Both let it grow, as long as all stacks together are small beside
 * what the slabs take (tcache_budget): a small program is not to be made large.
 * So a stack begins in the cache itself, with little room, and is moved when it
 * needs twice as much; what it was in before is lost.
 *
 * Only slots of the thread's own slabs are in its stacks: so two threads do not
 * get slots of one cache line because one of them freed what the other made.
 *
 * A stack that holds the same from one tick of the purger (purge.c) to the next is
 * taken for idle: half of it goes back to the slabs, and the rest of it in the
 * ticks to come. What waits in the outboxes, and chunks that are not yet merged, go
 * with the first tick. This is done on the slow way of any class, so a thread
 * that sleeps keeps what is in its stacks.
 *
 * The first word of a slot in a stack is its mark (free_mark): a block that
 * comes with it to free is freed twice, and a slot that lost it was written to
 * while it was free. So that a short program hears of it too, each refill looks
 * at some free slots of the class that was refilled before.
 *
 * A cache outlives its thread: it goes to the idle ones with what is in use
 * (a few of them also with what is free), and the next thread takes it over. Blocks freed to an idle cache are
 * collected by who frees them; those of a thread that sleeps now and then (caches.c).
 *
 * Laws (tcache_check):
 *  1. Every slab with this owner is the current one of its class, in the partial list of its class, or SLAB_FULL.
 *  2. A slot in a stack is in use for its slab, which is the cache's own and of the class, has its mark, and no slot is in twice.
 *  3. At most one slab in a partial list is without a slot in use.
 */
#ifndef STW_MALLOC_TCACHE_H
#define STW_MALLOC_TCACHE_H

#include "malloc/outbox.h"
#include "malloc/slab.h"

#define NR_CHUNK_STACKS 12      /* four for each doubling from 8 to 64 KiB */
#define CHUNK_STACK_MAX 16
#define CACHED_CHUNK_MAX ((size_t)64 << 10)

#define STACK_BYTES ((size_t)128 << 10) /* of the slots in a full stack, where not limited by number */
#define STACK_SLOTS_MIN 2
#define STACK_SLOTS_MAX 256
#define STACK_ROOM 15           /* slots that a stack has room for before it is moved */
#define BUDGET_MIN ((size_t)256 << 10)
#define BUDGET_SHIFT 3

struct secure;

struct bin {
	void **stack;                    /* NULL stands before it */
	uint32_t max, room, limit;       /* slots in the stack where it is full; max ≤ room, which can grow up to limit */
	uint32_t nr_slabs;
	uint32_t holes;                  /* blocks that may come from holes before the next slab is made (tcache_alloc_hole) */
	bool asked;                      /* refilled since the last look for slabs to dissolve */
	struct slab *current;            /* NULL: none */
	struct slab *partial, *partial_last;
};

/* With the size at hand, a search touches no chunk but the one that it takes. */
struct cached_chunk {
	struct chunk *chunk;
	size_t size;
};

struct chunk_stack {
	struct cached_chunk chunks[CHUNK_STACK_MAX];
	unsigned n;
};

/*
 * All of the owner thread, but for what is atomic; bins (less stack, max, room, limit), slab_bytes, collected and seen are of who is within.
 * tcache_count reads the counts of others (relaxed). First what every malloc and free reads, in arrays that an instruction can index.
 */
struct tcache {
	void **top[NR_CLASSES + 1];      /* of each stack: behind its newest slot. The last: CLASS_ZERO */
	void **full[NR_CLASSES];         /* top when the stack is full */
	uintptr_t secret;                /* process_secret(), at hand */
	struct bin bins[NR_CLASSES];
	size_t slab_bytes;               /* of its slabs */
	size_t new_bytes;                /* of those made since the last look for slabs to dissolve */
	bool dissolved;                  /* it found some at a time */
	size_t stack_bytes;              /* of the slots in its stacks if all are full */
	_Atomic(struct slab *) remote;   /* linked by next_remote */
	_Atomic uint32_t state;          /* caches.c: idle, a thread's, or tended */
	_Atomic uint32_t within;         /* TCACHE_ALONE, _OWNER, _COLLECTOR: who is at the slabs and bins */
	uint32_t collected, seen;        /* who is there: how often that was done; what it was at the last look (caches.c) */
	_Atomic(struct tcache *) next;   /* all there are; never shorter */
	struct secure *secure;           /* of a cache whose blocks have trailers; else NULL */
	struct outbox outbox[NR_OUTBOX_CLASSES];
	uint32_t pushes;                 /* slabs that it has pushed to others since it last looked after one */
	uint32_t forks, before_fork;     /* between prepare and parent or child; what tcache_enter said */
	_Atomic uint32_t generation;     /* of the process in which it got its thread (caches.c) */
	unsigned refilled;               /* the class of the last refill */
	uint32_t looked;                 /* the purger's tick at the last look for idle classes */
	uint32_t held[NR_CLASSES];       /* slots in each stack then */
	uint32_t told[NR_CLASSES];       /* slots in each stack when it was counted last (count.h) */
	uint64_t told_bytes;             /* cached_bytes then */
	size_t cached_bytes;
	unsigned next_shorter;           /* the stack that is the next to give room (chunkcache.c) */
	struct chunk_stack stacks[NR_CHUNK_STACKS];
	void *slots[NR_CLASSES][1 + STACK_ROOM]; /* the first stack of each class */
};

/* The tops of a cache that has nothing: it serves every thread before there is one. */
extern void **const tcache_no_tops[NR_CLASSES + 1];
#define TCACHE_NONE ((struct tcache *)tcache_no_tops)

/*
 * fast: what malloc and free look at first; TCACHE_NONE as long as the thread
 * has no cache or is not to take short cuts (perturb, secure). own: the thread's
 * cache, NULL before.
 */
extern __thread struct tcache *tcache_fast __attribute__((tls_model("initial-exec")));
extern __thread struct tcache *tcache_own __attribute__((tls_model("initial-exec")));

enum { TCACHE_ALONE, TCACHE_OWNER, TCACHE_COLLECTOR };

/*
 * Around all that a thread does with the slabs and bins of its cache, or of one that it has claimed: another one may be collecting for it.
 * Returns who was there before, for tcache_leave: _OWNER is the frame that a signal handler of this thread interrupted; _COLLECTOR does not
 * come to an end, and the caller has to do without the cache.
 */
uint32_t tcache_enter(struct tcache *t);

static inline void tcache_leave(struct tcache *t, uint32_t was)
{
	if (likely(was == TCACHE_ALONE))
		atomic_store_explicit(&t->within, TCACHE_ALONE, memory_order_release);
}

/* What a cache needs before its first block. */
void tcache_prepare(struct tcache *t);
/* Takes over what others freed. Within. */
void tcache_collect(struct tcache *t);
/* Gives back all that is held without need; leave: to be left, with all slabs that have free slots in lists. True: something. Within. */
bool tcache_settle(struct tcache *t, bool leave);
/* Which way this thread takes from now on. */
void tcache_set_way(struct tcache *t);
/* The thread's cache; NULL: no memory for one, or caches are off. */
struct tcache *tcache_get(void);
/* For blocks of other threads. A thread that only frees gets one too, after some frees, so that they go back in batches (outbox.h); not any more when it ends. NULL: none. */
struct tcache *tcache_get_to_free(void);
/* From now on each malloc and free comes to the slow way, where it is seen: perturb, secure. Other threads follow soon. */
void tcache_no_shortcuts(void);
/* This thread gets another cache; its first one stays behind with what is in use. */
void tcache_forget(void);
/* A slot of the class, by all means there are; NULL: no memory. */
void *tcache_alloc(struct tcache *t, unsigned class);
/*
 * A chunk of at least this size from a hole between blocks of dissolved slabs, in place of a slot of the class, if that has no free one. It
 * takes a lock each time: a class that is in much use has slabs all the same, for after four such blocks for each slot that it has it gets
 * another slab. NULL: a slot would be better, or there is no such hole.
 */
struct chunk *tcache_alloc_hole(struct tcache *t, unsigned class, size_t size);
/* Aborts: mem, in a page of s, begins no slot, or one that is free, or was never handed out. It is said to return, so that tcache_push can jump to it. */
void tcache_refuse(const struct slab *s, const void *mem);
/* The stack of the class is full: makes room. */
void tcache_overflow(struct tcache *t, unsigned class);
/* Slots of s, whose owner is t, were given back: s was full before, or has none in use now. */
void tcache_slab_freed(struct tcache *t, struct slab *s);
/* From any thread: s has blocks to collect for t, its owner. */
void tcache_push_remote(struct tcache *t, struct slab *s);
/* Cuts up the sparse slabs (dissolve.c) of each class that had no refill since the last call, if they have at least so many bytes, 1 or more. */
void tcache_dissolve(struct tcache *t, size_t bytes_min);

/* caches.c */

/* Gives back what this thread's cache and the idle ones hold without need, and collects for all others. True: something of the former. */
bool tcache_trim(void);
/* Collects for threads to whom others have freed blocks, and who have not come by since the last look at them. From any thread, the purger too. */
void tcache_look_after_all(void);
/* Around fork: nobody else is at the slabs of the forking thread. What other threads' caches are in the middle of, the child leaves alone. */
void tcache_fork_prepare(void);
void tcache_fork_parent(void);
void tcache_fork_child(void);

/* What all caches hold, at about this moment. */
struct tcache_count {
	size_t threads; /* that have one */
	size_t slots[NR_CLASSES];
	size_t chunks;
	size_t blocks, bytes; /* slots and chunks together */
};

void tcache_count(struct tcache_count *n);
/* Off: no thread gets a cache any more, and this one gives its own away. Tests, explain alloc. */
void tcache_enable(bool on);
/* The laws, for this thread's cache and the idle ones. */
void tcache_check(void);

/* chunkcache.c: freed chunks of this thread, from SLOT_MAX to CACHED_CHUNK_MAX, that have not gone back to their arena. */

/* Threads that have a cache, at about this moment; at least 1. */
unsigned tcache_busy(void);

static inline size_t tcache_slab_bytes(const struct tcache *t)
{
	return __atomic_load_n(&t->slab_bytes, __ATOMIC_RELAXED);
}

/* Bytes that the stacks may hold. */
static inline size_t tcache_budget(const struct tcache *t)
{
	return BUDGET_MIN + (tcache_slab_bytes(t) >> BUDGET_SHIFT);
}

/* A chunk of at least `size` and little more whose block happens to be aligned, or NULL. */
struct chunk *chunk_cache_get(struct tcache *t, size_t size, size_t align);
/* False: it does not take c, a chunk of a. The block must not be in it; that is checked. */
bool chunk_cache_put(struct tcache *t, const struct arena *a, struct chunk *c);
/* All go back to their arenas; false: there were none. */
bool chunk_cache_flush(struct tcache *t);

static inline uintptr_t tcache_mark(const struct tcache *t, const void *mem)
{
	return free_mark(t->secret, mem);
}

/* Slots in the stack of a class; of another thread's cache: at about this moment, and 0 while the stack is made or moved. */
static inline uint32_t tcache_held(const struct tcache *t, unsigned class)
{
	void **top = __atomic_load_n(&t->top[class], __ATOMIC_RELAXED), **stack = __atomic_load_n(&t->bins[class].stack, __ATOMIC_RELAXED);
	uintptr_t n = ((uintptr_t)top - (uintptr_t)stack) / sizeof(*top);

	return likely(n <= STACK_SLOTS_MAX) ? (uint32_t)n : 0;
}

/* A slot out of the stack; NULL: it is empty. */
static inline void *tcache_pop(struct tcache *t, unsigned class)
{
	void **top = t->top[class] - 1;
	uintptr_t *mem = *top;

	if (unlikely(mem == NULL))
		return NULL;
	t->top[class] = top;
	__builtin_prefetch(top[-1], 1); /* the next request for the class looks at its mark */
	if (unlikely(*mem != tcache_mark(t, mem)))
		misuse("write to a freed block", mem);
	*mem = 0;
	return mem;
}

static inline bool tcache_owns(const struct tcache *t, const struct slab *s)
{
	return atomic_load_explicit(&s->owner, memory_order_relaxed) == t;
}

/* mem, in a page of s, is given back by the owner of s, whose cache is t. */
static inline void tcache_push(struct tcache *t, struct slab *s, void *mem)
{
	uintptr_t mark = tcache_mark(t, mem);

	if (unlikely(!slab_has_marked(s, mem) || *(uintptr_t *)mem == mark)) {
		tcache_refuse(s, mem);
		return;
	}
	unsigned class = s->class;
	void **top = t->top[class];

	*(uintptr_t *)mem = mark;
	*top++ = mem;
	t->top[class] = top;
	if (unlikely(top == t->full[class]))
		tcache_overflow(t, class);
}

#endif

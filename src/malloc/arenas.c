/*
 * The set of arenas, and how a thread gets one.
 *
 * A thread stays with its arena and leaves it only when it finds the lock
 * taken: first for any free arena, then, below the limit, for a new one. So
 * programs whose threads do not meet in malloc keep one heap, and the number
 * of arenas follows contention, not the number of threads: at most one for each
 * CPU that the process may use, for slabs let few calls come here.
 *
 * free() belongs to the arena of the block. If that is locked the block is
 * pushed on its `deferred` list, which whoever unlocks the arena empties: free
 * never waits, and nothing is forgotten (see arena_free_remote).
 *
 * Fork. The child must find each arena either consistent or never to be used:
 *
 *  - prepare takes every lock, so no other thread is inside. It waits for each,
 *    but not for ever: the holder can be a thread that is stopped, or one that
 *    sits in a signal handler that forks as well, or the very frame that was
 *    interrupted by the handler that forks now.
 *  - other threads need not wait for the end of the fork: they free by pushing
 *    and allocate from an arena made for them. Else a thread that holds stdio's
 *    lock and calls malloc would hang with a fork that holds malloc's and
 *    waits for stdio's.
 *  - in the child an arena whose lock prepare did not get is abandoned: it
 *    stays locked, its blocks can be used and read, frees to it are
 *    collected and forgotten. What the interrupted frame of the forking thread
 *    itself had locked it will unlock when it goes on.
 */
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/count.h"
#include "malloc/secure.h"
#include "malloc/tcache.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 64
#define WAIT_NS ((uint64_t)10 * 1000 * 1000)
#define WAITS_MAX 20                                   /* before an arena beyond the limit is made */
#define FORK_WAIT_NS ((uint64_t)1000 * 1000 * 1000)
#define ARENAS_PER_CPU 1

struct arena main_arena;

static _Atomic(struct arena *) others[ARENAS_MAX]; /* arena i at [i]; [0] is unused */
static _Atomic unsigned nr_arenas = 1;
static _Atomic unsigned nr_abandoned;
static _Atomic unsigned nr_forks;                   /* threads between prepare and parent or child */

static __thread struct arena *my_arena __attribute__((tls_model("initial-exec")));
static __thread struct arena *locked_now __attribute__((tls_model("initial-exec")));

struct arena *arena_nth(unsigned i)
{
	if (i == 0)
		return &main_arena;
	return i < ARENAS_MAX ? atomic_load_explicit(&others[i], memory_order_acquire) : NULL;
}

static void entered(struct arena *a)
{
	a->outer = locked_now;
	locked_now = a;
	if (unlikely(!a->ready)) {
		bins_init(a);
		a->ready = true;
	}
}

bool arena_trylock(struct arena *a)
{
	if (!lock_try(&a->lock))
		return false;
	entered(a);
	return true;
}

static bool locked_by_me(const struct arena *a)
{
	for (const struct arena *b = locked_now; b != NULL; b = b->outer)
		if (b == a)
			return true;
	return false;
}

bool arena_lock(struct arena *a)
{
	if (arena_trylock(a))
		return true;
	if (a->abandoned || locked_by_me(a))
		return false;
	if (!lock_timed(&a->lock, atomic_load(&nr_forks) != 0 ? WAIT_NS / 10 : WAITS_MAX * WAIT_NS))
		return false;
	entered(a);
	return true;
}

static void drain(struct arena *a)
{
	struct chunk *c = atomic_exchange(&a->deferred, NULL);

	while (c != NULL) {
		struct chunk *next = c->fd;

		arena_free(a, c);
		c = next;
	}
}

void arena_unlock(struct arena *a)
{
	do {
		if (atomic_load_explicit(&a->deferred, memory_order_relaxed) != NULL)
			drain(a);
		if (unlikely(atomic_load_explicit(&a->unsettled, memory_order_relaxed)))
			arena_settle(a);
		count_tell(&counts->heaps, &a->told_bytes, arena_bytes(a));
		count_tell(&counts->free, &a->told_free, arena_free_bytes(a));
		locked_now = a->outer;
		lock_release(&a->lock);
	} while (unlikely(atomic_load(&a->deferred) != NULL || atomic_load(&a->unsettled)) && arena_trylock(a));
}

void arena_unlock_freed(struct arena *a)
{
	bool purge = purge_wanted(a);

	arena_unlock(a);
	if (unlikely(purge))
		purge_start();
}

/*
 * Nothing stays behind: the push comes before our attempt at the lock, and the
 * holder looks at the list after its release, all in one total order. So
 * either we get the lock or the holder sees the block.
 */
void arena_free_remote(struct arena *a, struct chunk *c)
{
	if (arena_trylock(a)) {
		arena_free(a, c);
		arena_unlock_freed(a);
		return;
	}

	struct chunk *head = atomic_load_explicit(&a->deferred, memory_order_relaxed);

	do
		c->fd = head;
	while (!atomic_compare_exchange_weak(&a->deferred, &head, c));
	if (arena_trylock(a))
		arena_unlock(a);
}

static unsigned arenas_limit(void)
{
	static _Atomic unsigned from_cpus;
	size_t set = param_get(&params.arenas_max);
	unsigned limit = atomic_load_explicit(&from_cpus, memory_order_relaxed);

	if (set != 0)
		return (unsigned)MIN(set, (size_t)ARENAS_MAX);
	if (limit == 0) {
		cpu_set_t cpus;
		int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

		limit = (unsigned)MIN(MAX(n * ARENAS_PER_CPU, 2), ARENAS_MAX / 2);
		atomic_store_explicit(&from_cpus, limit, memory_order_relaxed);
	}
	return limit;
}

/* A new arena, locked; NULL: no memory, or as many as there may ever be. */
static struct arena *add_arena(void)
{
	unsigned i = atomic_load(&nr_arenas);
	struct arena *a = arena_create();

	if (a == NULL)
		return NULL;
	do {
		if (i >= ARENAS_MAX) {
			arena_destroy(a);
			return NULL;
		}
	} while (!atomic_compare_exchange_weak(&nr_arenas, &i, i + 1));
	a->number = (uint8_t)i;
	arena_trylock(a);
	atomic_store_explicit(&others[i], a, memory_order_release);
	return a;
}

static struct arena *any_free_arena(void)
{
	unsigned n = atomic_load(&nr_arenas);

	for (unsigned i = 0; i < n; i++) {
		struct arena *a = arena_nth(i);

		if (a != NULL && arena_trylock(a))
			return a;
	}
	return NULL;
}

static struct arena *acquire_slow(struct arena *mine)
{
	struct arena *a = NULL;

	for (int i = 0; i < SPINS; i++) {
		if (!lock_is_held(&mine->lock) && arena_trylock(mine))
			return mine;
		if (atomic_load_explicit(&mine->purging, memory_order_relaxed) && arena_lock(mine))
			return mine;
#if defined(__x86_64__)
		__builtin_ia32_pause();
#endif
	}
	for (unsigned waits = 0; (a = any_free_arena()) == NULL; waits++) {
		bool must = atomic_load(&nr_forks) != 0 || waits >= WAITS_MAX || locked_by_me(mine);

		if (must || atomic_load(&nr_arenas) < arenas_limit() + atomic_load(&nr_abandoned))
			a = add_arena();
		if (a != NULL)
			break;
		if (waits >= 2 * WAITS_MAX)
			return NULL;
		if (!mine->abandoned && lock_timed(&mine->lock, WAIT_NS)) {
			entered(mine);
			return mine;
		}
	}
	my_arena = a;
	return a;
}

struct arena *arena_acquire(void)
{
	struct arena *a = my_arena != NULL ? my_arena : &main_arena;

	return likely(arena_trylock(a)) ? a : acquire_slow(a);
}

void malloc_fork_prepare(void)
{
	uint64_t patience = FORK_WAIT_NS;

	atomic_fetch_add(&nr_forks, 1);
	tcache_fork_prepare(); /* before the arenas, as everywhere */
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL)
			continue;

		bool taken = lock_try(&a->lock);

		if (!taken && !a->abandoned && !locked_by_me(a)) {
			taken = lock_timed(&a->lock, patience);
			if (!taken)
				patience = 0;
		}
		if (taken)
			atomic_store(&a->fork_owner, &my_arena);
	}
	count_fork_prepare();
}

void malloc_fork_parent(void)
{
	atomic_fetch_sub(&nr_forks, 1);
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || atomic_load(&a->fork_owner) != &my_arena)
			continue;
		atomic_store(&a->fork_owner, NULL);
		a->outer = locked_now;
		locked_now = a;
		arena_unlock(a);
	}
	tcache_fork_parent();
}

void malloc_fork_child(void)
{
	atomic_store(&nr_forks, 0);
	purge_child();
	count_fork_child();
	tcache_fork_child();
	secure_fork_child();
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL)
			continue;
		if (atomic_load(&a->fork_owner) == &my_arena) {
			atomic_store(&a->fork_owner, NULL);
			lock_reset(&a->lock);
		} else if (lock_is_held(&a->lock) && !locked_by_me(a) && !a->abandoned) {
			a->abandoned = true;
			atomic_fetch_add(&nr_abandoned, 1);
			if (my_arena == a)
				my_arena = NULL;
		}
	}
}

/*
 * The engine's lock: a futex mutex on C11 atomics (Drepper, "Futexes Are
 * Tricky", mutex 2), with raw system calls because its holders have no libc.
 * Held for microseconds by two threads, so it spins before it sleeps.
 */
#ifndef STW_LIVE_LOCK_H
#define STW_LIVE_LOCK_H

#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/sys.h"

#define LOCK_SPINS 20

/*
 * What program threads do with the engine's locks and counts must not be
 * interrupted by a signal handler that does the same, or never returns.
 */
static inline void signals_block(uint64_t *before)
{
	uint64_t all = ~(uint64_t)0;

	sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)before, sizeof(all), 0, 0);
}

static inline void signals_restore(const uint64_t *before)
{
	sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)before, 0, sizeof(*before), 0, 0);
}

struct engine_lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody sleeps */
};

static inline void futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *timeout)
{
	sys_futex((uint32_t *)word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, timeout, NULL, 0);
}

static inline void futex_wake(_Atomic uint32_t *word)
{
	sys_futex((uint32_t *)word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static inline void futex_wake_all(_Atomic uint32_t *word)
{
	sys_futex((uint32_t *)word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, 0);
}

static inline void engine_lock_take(struct engine_lock *l)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		uint32_t free = 0;

		if (atomic_compare_exchange_weak_explicit(&l->word, &free, 1, memory_order_acquire,
							  memory_order_relaxed))
			return;
		__builtin_ia32_pause();
	}
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
		futex_wait(&l->word, 2, NULL);
}

/* True: somebody slept for it, and may take it now. */
static inline bool engine_lock_drop(struct engine_lock *l)
{
	bool waited = atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2;

	if (waited)
		futex_wake(&l->word);
	return waited;
}

#endif

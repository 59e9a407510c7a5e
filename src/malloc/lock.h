/*
 * A futex lock of our own: it works before libc is ready, is correct as zeroed
 * memory, and a child after fork can simply be told that it is free.
 *
 * Waits are bounded: nobody in the allocator may sleep for ever on a lock
 * whose holder can be a thread that fork left behind, or the very frame that a
 * signal handler interrupted. After a timeout the caller goes another way.
 *
 * Ulrich Drepper, "Futexes Are Tricky", mutex 2.
 */
#ifndef STW_MALLOC_LOCK_H
#define STW_MALLOC_LOCK_H

#include <stdatomic.h>

#include "base/types.h"

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep */
};

static inline bool lock_try(struct lock *l)
{
	uint32_t unlocked = 0;

	/* Sequentially consistent also when it fails: see arena_free_remote. */
	return atomic_compare_exchange_strong(&l->word, &unlocked, 1);
}

static inline bool lock_is_held(struct lock *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed) != 0;
}

/* Spins a little, then sleeps; false after timeout_ns. errno stays as it was. */
bool lock_timed(struct lock *l, uint64_t timeout_ns);

/* Wakes one sleeper. Out of line: only when the word was 2. */
void lock_wake(struct lock *l);

static inline void lock_release(struct lock *l)
{
	if (unlikely(atomic_exchange(&l->word, 0) == 2))
		lock_wake(l);
}

/* 50 microseconds pass, if the word is `value` now. A futex that nobody wakes: a program that has locks allows the system call. */
void lock_nap(_Atomic uint32_t *word, uint32_t value);

/* In the child after fork, for a lock that its own parent thread took before it: nobody sleeps here. */
static inline void lock_reset(struct lock *l)
{
	atomic_store_explicit(&l->word, 0, memory_order_release);
}

#endif

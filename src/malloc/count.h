/*
 * Counts of the heap for whoever looks from outside (base/heapcount.h). Only the slow ways count: an arena when it is
 * unlocked and has changed by COUNT_STEP, a thread's cache when a stack of it is filled or emptied. So what is in use is
 * known up to what these have changed by since; `told` is what they had then.
 *
 * Under STEWARD_MALLOC=secure, blocks that wait in quarantine count as used.
 */
#ifndef STW_MALLOC_COUNT_H
#define STW_MALLOC_COUNT_H

#include "base/heapcount.h"

#define COUNT_STEP ((uint64_t)32 << 10)

extern struct heap_counts *counts;

/* By a difference, which may be below 0. */
static inline void count_add(uint64_t *count, uint64_t difference)
{
	__atomic_fetch_add(count, difference, __ATOMIC_RELAXED);
}

/* Makes what is there now the new *told, if they are a step apart. */
static inline void count_tell(uint64_t *count, uint64_t *told, uint64_t now)
{
	if (likely(now - *told + COUNT_STEP <= 2 * COUNT_STEP))
		return;
	count_add(count, now - *told);
	*told = now;
}

/* Around fork: the child goes on with its own counts, from those of the moment of prepare. */
void count_fork_prepare(void);
void count_fork_child(void);

#endif

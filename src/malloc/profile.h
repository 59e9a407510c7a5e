/*
 * profile.c: which call stacks the memory in use belongs to, by samples.
 *
 * The fast ways of malloc and free know nothing of it. Bytes are counted where
 * it is slow anyway: when a thread's cache takes slots from its slabs, and for
 * each block that is a chunk. When a period is full the next request that comes
 * to the slow way is a sample: it gets a chunk of its own whatever its size, so
 * that its free comes by here too.
 */
#ifndef STW_MALLOC_PROFILE_H
#define STW_MALLOC_PROFILE_H

#include <stdatomic.h>

#include "base/types.h"
#include "malloc/control.h"

/* Bytes from sample to sample; 0: no profile. */
extern _Atomic size_t profile_period;

static inline bool profile_is_on(void)
{
	return unlikely(atomic_load_explicit(&profile_period, memory_order_relaxed) != 0);
}

/* From now on; the file gets the process's number as its ending. False: it cannot be. */
bool profile_start(const char *file, size_t len, size_t period, backtrace_fn *fn);
/* This many bytes went from slabs to the thread's cache. */
void profile_refilled(size_t bytes);
/* Is this request a sample? Then profile_add follows, if there is memory for it. */
bool profile_wants(size_t bytes);
void profile_add(void *mem, size_t bytes);
/* A chunk that may be a sample is about to be freed. */
void profile_forget(void *mem);
/* One of `old` bytes has become one of `bytes`. */
void profile_resized(void *from, void *to, size_t old, size_t bytes);
/* Writes FILE.PID. */
void profile_exit(void);

#endif

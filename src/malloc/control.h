/*
 * What the preload library, the live engine and the tests say to the
 * allocator. What programs call is in include/steward/malloc.h.
 */
#ifndef STW_MALLOC_CONTROL_H
#define STW_MALLOC_CONTROL_H

#include "base/heapcount.h"
#include "base/types.h"
#include "malloc/pagesrc.h"

/* The return addresses of the callers, innermost first; how many. Must not allocate. */
typedef size_t backtrace_fn(uintptr_t *frames, size_t max);

/*
 * Does what the environment asks for (options.c). Once, before the program's
 * own code. unwind: for a profile; NULL: there can be none.
 */
void malloc_init(char **envp, backtrace_fn *unwind);
/* As stw_mallopt, with numbers that an int does not hold; one beyond PTRDIFF_MAX stands for a negative one. */
int malloc_set(int param, size_t value);
/* src/preload/backtrace.c. */
backtrace_fn malloc_unwind;
/* The same at the end of the process, when exit has called what it was to call. */
void malloc_exit(void);

/* STEWARD_MALLOC=secure, once, before there are other threads. What was allocated before goes on as it was. */
void malloc_secure(void);

/*
 * Pages come from this source from now on (pagesrc_plain until the first
 * call). Every page that is discarded at this moment is revived with the old
 * source and announced to the new one.
 * The new source must be able to take back what the old one mapped. src has
 * static lifetime.
 */
void malloc_set_source(const struct pagesrc *src);

/* Calls fn for each run of pages that is discarded now. fn runs under arena locks: it must not allocate. */
void malloc_each_discarded(void (*fn)(void *ctx, void *addr, size_t bytes), void *ctx);

/*
 * What is counted of the heap stands there from now on, what was counted before included. Only while no other thread
 * allocates. A child of fork counts apart until it is told another place.
 */
void malloc_count_in(struct heap_counts *where);

/*
 * Around fork, in the forking thread. prepare takes the arenas so that the
 * child finds them consistent; it waits for at most a second and never for the
 * frame that a signal handler interrupted. What it could not get, the child
 * leaves alone for good. Other threads may allocate and free while it is held.
 * For pthread_atfork: register early.
 */
void malloc_fork_prepare(void);
void malloc_fork_parent(void);
void malloc_fork_child(void);

/* Free memory goes back by itself after some seconds; starts a thread in the program when there is much. Off at first. */
void malloc_purge_in_background(bool on);

/* report.c: a summary of the heap. */
void malloc_report(int fd);

/* Executes the laws of every arena. Aborts on a violation. Slow: tests. */
void malloc_check(void);

#endif

/*
 * Threads of ours inside somebody else's process, invisible to the C library (base/clone.h).
 *
 * They have a descriptor table of their own, in which only what was named in
 * task_start is open: a program that closes every descriptor, or waits for the
 * end of a pipe, does not meet ours.
 */
#ifndef STW_LIVE_TASK_H
#define STW_LIVE_TASK_H

#include <stdatomic.h>

#include "base/types.h"

#define TASK_STACK (256 * KIB)

struct task {
	void (*run)(void *arg); /* never returns */
	void *arg;
	const int *keep;        /* descriptors to keep open, ascending, ended by -1; NULL: share the maker's table */
	uint8_t *stack;         /* TASK_STACK bytes, the maker's; the thread's TCB is at the top */
	_Atomic uint32_t ready; /* 1 once the descriptors are closed */
	_Atomic int32_t tid;
};

/*
 * Starts the thread with all signals blocked and returns once its descriptor
 * table is its own. 0 or -errno. After fork a task of the parent may be started
 * again in the child.
 */
int task_start(struct task *t);
/* The caller runs on this task's stack. */
bool task_is_current(const struct task *t);

#endif

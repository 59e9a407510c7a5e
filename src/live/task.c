#include "live/task.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "base/clone.h"
#include "live/lock.h"

static void close_others(const int *keep)
{
	unsigned from = 0;

	for (; *keep >= 0; keep++) {
		if ((unsigned)*keep > from)
			sys_close_range(from, (unsigned)*keep - 1, 0);
		from = (unsigned)*keep + 1;
	}
	sys_close_range(from, ~0u, 0);
}

static void task_main(void *arg)
{
	struct task *t = arg;

	atomic_store(&t->tid, sys_gettid());
	if (t->keep != NULL)
		close_others(t->keep);
	atomic_store(&t->ready, 1);
	futex_wake(&t->ready);
	t->run(t->arg);
	sys_exit(0);
}

int task_start(struct task *t)
{
	uint64_t before;

	atomic_store(&t->ready, 0);
	signals_block(&before);

	long tid = clone_thread(t->keep == NULL ? CLONE_FILES : 0, t->stack, TASK_STACK, task_main, t, NULL);

	signals_restore(&before);
	if (tid < 0)
		return (int)tid;
	while (atomic_load(&t->ready) == 0)
		futex_wait(&t->ready, 0, NULL);
	return 0;
}

bool task_is_current(const struct task *t)
{
	const uint8_t *here = __builtin_frame_address(0);

	return t->stack != NULL && here >= t->stack && here < t->stack + TASK_STACK;
}

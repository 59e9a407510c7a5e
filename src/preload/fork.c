/*
 * fork: the allocator and the engine stand still while the process is copied.
 *
 * pthread_atfork sees every fork of the C library, forkpty and daemon included; _Fork, clone and syscall (syscall.c) are wrapped.
 * Registered first, our prepare runs last and our child handler first. Between
 * the copy and that handler libc itself touches the child's memory, before a
 * page that is out can be served there: the FILEs that it unlocks (if the
 * process has threads), and the stacks of ended threads that it keeps. They are touched in the parent once nothing is evicted
 * any more, so that they are present in the copy.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "live/engine.h"
#include "malloc/control.h"
#include "preload/preload.h"

/* The list of open FILEs, as glibc exports it to libstdc++ of old. */
extern FILE *_IO_iter_begin(void) __attribute__((weak));
extern FILE *_IO_iter_end(void) __attribute__((weak));
extern FILE *_IO_iter_next(FILE *) __attribute__((weak));

static bool frozen;
/* What a signal handler waits for may wait for us: another thread that maps memory, and at the end this one. So none runs until all goes on. */
static uint64_t signals;
/* The child closes its end once it can serve itself. One fork at a time: a second child would keep it open. */
static int ready[2] = { -1, -1 };
static pthread_mutex_t one_fork = PTHREAD_MUTEX_INITIALIZER;

static void touch_files(void)
{
	if (_IO_iter_begin == NULL || _IO_iter_next == NULL || _IO_iter_end == NULL)
		return;
	for (FILE *f = _IO_iter_begin(); f != _IO_iter_end(); f = _IO_iter_next(f)) {
		(void)*(volatile char *)f;
		(void)((volatile char *)f)[sizeof(FILE) - 1];
		/* glibc's lock lies behind the FILE, in the same block. */
		(void)((volatile char *)f)[sizeof(FILE) + 64];
	}
}

void preload_fork_begins(void)
{
	pthread_mutex_lock(&one_fork);
	if (preload_attached)
		engine_settle();
	if (preload_attached && atomic_load(&engine.state) == LEDGER_ENGAGED)
		fork_make_room();
	signals_block(&signals);
	malloc_fork_prepare();
	engine_hold_start();
	frozen = atomic_load(&engine.state) != LEDGER_NATIVE;
	if (!frozen)
		return;
	if (pipe2(ready, O_CLOEXEC) != 0)
		ready[0] = ready[1] = -1;
	bell_ring(BELL_FREEZE, geteuid(), getegid(), 0);
	touch_files();
	preload_touch_ended();
}

static void close_ready(int end)
{
	if (ready[end] >= 0)
		close(ready[end]);
	ready[end] = -1;
}

/* The child opens our swap file through us. A byte: it has. End of file: it is dead, or there is none. */
static void wait_for_child(void)
{
	char c;

	close_ready(1);
	while (ready[0] >= 0 && read(ready[0], &c, 1) < 0 && errno == EINTR)
		;
	close_ready(0);
}

void preload_fork_parent(void)
{
	int saved_errno = errno;

	if (frozen) {
		wait_for_child();
		bell_ring(BELL_THAW, 0, 0, 0);
	}
	engine_release_start();
	malloc_fork_parent();
	uint64_t mask = signals;

	pthread_mutex_unlock(&one_fork);
	signals_restore(&mask);
	errno = saved_errno;
}

void preload_fork_child(void)
{
	engine_release_start();
	/* Only a process that has all its memory can leave the run. */
	if (preload_attached && atomic_load(&engine.state) == LEDGER_NATIVE)
		preload_attached = !preload_outside(engine.ledger);
	if (preload_attached) {
		fork_child();
		/* Not only the end of file: another child may hold the pipe open. */
		if (ready[1] >= 0)
			(void)!write(ready[1], "", 1);
		close_ready(0);
		close_ready(1);
		preload_thread_starts();
		fork_take_part();
	}
	malloc_fork_child();
	if (preload_attached)
		malloc_count_in(&engine.slot->heap);
	pthread_mutex_init(&one_fork, NULL);
	signals_restore(&signals);
}

/* The other ways to a child with a copy of the memory, which call no handlers. */

EXPORT pid_t _Fork(void)
{
	static pid_t (*real)(void);
	pid_t pid;

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "_Fork");
	preload_fork_begins();
	pid = real();
	if (pid == 0)
		preload_fork_child();
	else
		preload_fork_parent();
	return pid;
}

struct child {
	int (*run)(void *);
	void *arg;
};

static int child_main(void *child)
{
	struct child c = *(struct child *)child;

	preload_fork_child();
	int status = c.run(c.arg);

	/* The C library ends this thread alone, and our two would stay. */
	if (preload_is_last())
		_exit(status);
	return status;
}

EXPORT int clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	static __typeof__(&clone) real;
	struct child child = { run, arg };
	pid_t *parent_tid, *child_tid;
	void *tls;
	va_list more;
	int pid;

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "clone");
	/* As in the C library, whether they were given or not. */
	va_start(more, arg);
	parent_tid = va_arg(more, pid_t *);
	tls = va_arg(more, void *);
	child_tid = va_arg(more, pid_t *);
	va_end(more);
	if ((flags & CLONE_VM) != 0 || run == NULL || stack == NULL)
		return real(run, stack, flags, arg, parent_tid, tls, child_tid);
	preload_fork_begins();
	pid = real(child_main, stack, flags, &child, parent_tid, tls, child_tid);
	preload_fork_parent();
	return pid;
}

void preload_fork_init(void)
{
	pthread_atfork(preload_fork_begins, preload_fork_parent, preload_fork_child);
}

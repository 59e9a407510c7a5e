/* System calls that a program makes by their numbers: those that we must know of. */
#include <errno.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "preload/preload.h"

/* A child with a copy of the memory. One with a stack of its own cannot come back here, nor anywhere. */
static bool forks(long number, long a, long b)
{
	const struct clone_args *args = (const struct clone_args *)(uintptr_t)a;

	switch (number) {
	case SYS_fork:
		return true;
	case SYS_clone:
		return (a & CLONE_VM) == 0 && b == 0;
	case SYS_clone3:
		return args != NULL && (args->flags & CLONE_VM) == 0 && args->stack == 0;
	default:
		return false;
	}
}

/* libc's header has it with a variable number of arguments, of which all are read. */
long preload_syscall(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall");

EXPORT long preload_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	bool fork = forks(number, a, b);
	long result;

	if (number == SYS_seccomp)
		preload_sandboxed = true;
	/* It ends a thread: of the first, if it is the last, the process. */
	if (number == SYS_exit && sys_gettid() == sys_getpid() && preload_is_last())
		number = SYS_exit_group;
	if (fork)
		preload_fork_begins();
	result = sys_call6(number, a, b, c, d, e, f);
	if (fork && result == 0)
		preload_fork_child();
	else if (fork)
		preload_fork_parent();
	if (!sys_is_err(result))
		return result;
	errno = (int)-result;
	return -1;
}

/*
 * A process that forbids itself system calls may be killed by one that it does not know of. Where we make some for
 * speed alone (exit.c), none is made any more once a filter has been asked for, by this call or the other (syscall.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "preload/preload.h"

bool preload_sandboxed;

EXPORT int prctl(int option, ...)
{
	unsigned long arg[4];
	va_list ap;

	va_start(ap, option);
	for (unsigned i = 0; i < ARRAY_SIZE(arg); i++)
		arg[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_SECCOMP)
		preload_sandboxed = true;
	long result = sys_call6(SYS_prctl, option, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], 0);

	if (!sys_is_err(result))
		return (int)result;
	errno = (int)-result;
	return -1;
}

/*
 * A process that ends gives its part of the budget back at once. The launcher would find that out at its next look, twenty
 * times a second: in that time a shell script has started and ended a hundred processes.
 */
#include <unistd.h>

#include "live/engine.h"
#include "preload/preload.h"

static void leave(void)
{
	/* A child of vfork, or of clone without the fork handlers, has the memory of its parent, or a copy: not it ends. */
	if (preload_attached && !preload_sandboxed && engine.pid == sys_getpid())
		engine_leave();
}

/* exit() comes here. */
__attribute__((destructor)) static void ends(void)
{
	leave();
}

EXPORT void _exit(int status)
{
	leave();
	sys_exit_group(status);
}

EXPORT void _Exit(int status) __attribute__((alias("_exit"), noreturn));

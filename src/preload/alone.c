/* Start-up of libsteward-malloc.so: the allocator on its own, without a run. */
#include <pthread.h>

#include "malloc/control.h"

/* First of all constructors when preloaded (-z initfirst): so our prepare runs last, and our child handler first. */
__attribute__((constructor)) static void alone_init(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	malloc_purge_in_background(true);
	malloc_init(envp, malloc_unwind);
	pthread_atfork(malloc_fork_prepare, malloc_fork_parent, malloc_fork_child);
}

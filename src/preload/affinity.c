/*
 * The engine pins a one-thread program while it pages (live/cpu.c). Nobody is to
 * notice: affinity is answered as it was, and what inherits it gets it back.
 *
 *   fork                     restored in the child (preload/fork.c)
 *   exec                     restored by the new image (attach.c)
 *   vfork, posix_spawn, …    restored before, because the new image may be static
 *   a second thread          restored before, and then there is no more pinning
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

#include "base/sys.h"
#include "live/engine.h"
#include "preload/preload.h"

/* The next definition of the function that this wrapper hides. */
#define REAL(name)                                                           \
	static __typeof__(&name) real;                                       \
	if (real == NULL)                                                    \
		real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);

/* The kernel has answered; if the answer is our doing, what was before. */
static void correct(int tid, size_t size, cpu_set_t *set)
{
	cpu_set_t own;

	if (!preload_attached || !cpu_affinity(tid, &own))
		return;
	memset(set, 0, size);
	memcpy(set, &own, MIN(size, sizeof(own)));
}

EXPORT int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	REAL(sched_getaffinity)
	int err = real(pid, size, set);

	if (err == 0)
		correct(pid != 0 ? pid : sys_gettid(), size, set);
	return err;
}

EXPORT int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
	REAL(sched_setaffinity)
	cpu_release();
	int err = real(pid, size, set);

	cpu_released();
	return err;
}

/* Who is pinned is the only thread, so the one that is asked about. */
EXPORT int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set)
{
	REAL(pthread_getaffinity_np)
	int err = real(thread, size, set);

	if (err == 0 && pthread_equal(thread, pthread_self()))
		correct(sys_gettid(), size, set);
	return err;
}

EXPORT int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set)
{
	REAL(pthread_setaffinity_np)
	cpu_release();
	int err = real(thread, size, set);

	cpu_released();
	return err;
}

/* This thread makes a process, whose image may be static. */
static void before_process(void)
{
	if (preload_attached)
		engine_settle();
	cpu_release();
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	REAL(posix_spawn)
	before_process();
	int err = real(pid, path, actions, attr, argv, envp);

	cpu_released();
	return err;
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	REAL(posix_spawnp)
	before_process();
	int err = real(pid, file, actions, attr, argv, envp);

	cpu_released();
	return err;
}

EXPORT int system(const char *command)
{
	REAL(system)
	before_process();
	int status = real(command);

	cpu_released();
	return status;
}

EXPORT FILE *popen(const char *command, const char *type)
{
	REAL(popen)
	before_process();
	FILE *f = real(command, type);

	cpu_released();
	return f;
}

/* Called from the code below only. */
__attribute__((used)) static void *before_vfork(void)
{
	static void *real;

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "vfork");
	before_process();
	cpu_released();
	return real;
}

/* The child returns on the caller's stack, so nothing of ours may be on it: a jump, not a call. */
EXPORT __attribute__((naked)) pid_t vfork(void)
{
	__asm__("sub $8, %rsp\n\t"
		"call before_vfork\n\t"
		"add $8, %rsp\n\t"
		"jmp *%rax");
}

void preload_thread_added(void)
{
	atomic_fetch_add(&engine.program_threads, 1);
}

void preload_thread_removed(void)
{
	atomic_fetch_sub(&engine.program_threads, 1);
}

bool preload_is_last(void)
{
	return preload_attached && atomic_load(&engine.state) != LEDGER_NATIVE && atomic_load(&engine.program_threads) <= 1;
}

/* libc starts these threads without pthread_create; they are not counted when they end. */
EXPORT int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
	REAL(thrd_create)
	preload_thread_added();
	cpu_release();
	int err = real(thread, run, arg);

	cpu_released();
	return err;
}

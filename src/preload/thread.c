/* Threads say where their CPU number stands (live/cpu.c), and user-made stacks stay with the host. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/rseq.h>

#include "base/sys.h"
#include "live/engine.h"
#include "preload/preload.h"

/* Weak: glibc before 2.35 does not register rseq. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* Of the TCB: so far the kernel writes (tid, list of robust futexes), but for the rseq area. */
#define TCB_WRITTEN 1024

void preload_thread_starts(void)
{
	char *tcb = __builtin_thread_pointer();
	size_t written = TCB_WRITTEN;

	if (&__rseq_size != NULL && __rseq_size > 0) {
		const struct rseq *area = (const struct rseq *)(tcb + __rseq_offset);

		cpu_thread(sys_gettid(), &area->cpu_id);
		written = (size_t)MAX(__rseq_offset + (ptrdiff_t)sizeof(*area), TCB_WRITTEN);
	}
	/* The page with the TCB must never be out; a stack may have been taken for a plain area before it was one. What follows is not ours. */
	preload_unmanage(tcb, written);
}

/*
 * glibc keeps the stacks of ended threads, and a child of fork puts them into other lists, before its handlers run and anything that is out could
 * be served: those of the last ones are there when a fork begins.
 */
#define ENDED_KEPT 256
static _Atomic uintptr_t ended[ENDED_KEPT];
static _Atomic unsigned nr_ended;

void preload_thread_ends(void)
{
	cpu_thread(sys_gettid(), NULL);
	atomic_store(&ended[atomic_fetch_add(&nr_ended, 1) % ENDED_KEPT], (uintptr_t)__builtin_thread_pointer());
}

void preload_touch_ended(void)
{
	for (unsigned i = 0; i < ENDED_KEPT; i++) {
		uintptr_t tcb = atomic_load(&ended[i]), page = ALIGN_DOWN(tcb, PAGE_SIZE);

		/* The stack may be gone, or somebody else's memory by now. */
		if (tcb != 0)
			sys_madvise((void *)page, ALIGN_UP(tcb + TCB_WRITTEN, PAGE_SIZE) - page, MADV_POPULATE_READ);
	}
}

struct start {
	void *(*run)(void *);
	void *arg;
};

static void thread_ends(void *unused)
{
	(void)unused;
	preload_thread_ends();
	preload_thread_removed();
}

static void *thread_main(void *arg)
{
	struct start s = *(struct start *)arg;
	void *result;

	free(arg);
	preload_thread_starts();
	pthread_cleanup_push(thread_ends, NULL);
	result = s.run(s.arg);
	pthread_cleanup_pop(1);
	return result;
}

/* The thread's TCB will lie at the top of this stack, so it must not be paged. */
static void keep_user_stack(const pthread_attr_t *attr)
{
	void *addr = NULL;
	size_t size = 0;

	if (attr != NULL && pthread_attr_getstack(attr, &addr, &size) == 0 && addr != NULL)
		preload_unmanage(addr, size);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
	struct start *s = preload_attached ? malloc(sizeof(*s)) : NULL;

	if (s == NULL)
		return real(thread, attr, run, arg);
	keep_user_stack(attr);
	*s = (struct start){ run, arg };
	preload_thread_added();
	cpu_release();
	int err = real(thread, attr, thread_main, s);

	cpu_released();
	if (err != 0) {
		preload_thread_removed();
		free(s);
	}
	return err;
}

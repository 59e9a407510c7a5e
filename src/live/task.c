#include "live/task.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "live/lock.h"

/*
 * The part of the TCB that compiler and libc look at through %fs: the pointer
 * to itself, the stack protector's canary and the pointer guard (x86-64 psABI;
 * glibc sysdeps/x86_64/nptl/tls.h). Zeroed room below it keeps a stray access
 * to a thread-local variable harmless.
 */
struct tcb {
	void *self;
	uint64_t reserved[4];
	uint64_t canary; /* at 0x28 */
	uint64_t guard;  /* at 0x30 */
};

#define EXEC_PATIENCE 100000 /* tries */
#define TCB_ROOM (16 * KIB) /* below the TCB: thread-local variables; above it: struct pthread */

_Static_assert(offsetof(struct tcb, canary) == 0x28, "psABI");

/* clone(2) that starts the child in run(arg) on a fresh stack. Returns the child's tid or -errno. */
__attribute__((naked)) static long clone_run(unsigned long flags __attribute__((unused)),
					     void *stack __attribute__((unused)),
					     void (*run)(void *) __attribute__((unused)),
					     void *arg __attribute__((unused)),
					     void *tls __attribute__((unused)))
{
	__asm__("sub $16, %rsi\n\t"
		"mov %rdx, 0(%rsi)\n\t"
		"mov %rcx, 8(%rsi)\n\t"
		"xor %edx, %edx\n\t"
		"xor %r10d, %r10d\n\t"
		"mov $56, %eax\n\t" /* SYS_clone(flags, stack, ptid, ctid, tls in r8) */
		"syscall\n\t"
		"test %rax, %rax\n\t"
		"jz 1f\n\t"
		"ret\n"
		"1:\n\t"
		"xor %ebp, %ebp\n\t"
		"pop %rax\n\t"
		"pop %rdi\n\t"
		"call *%rax\n\t"
		"ud2");
}

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

static uint64_t read_fs(unsigned offset)
{
	uint64_t v;

	__asm__ volatile("mov %%fs:(%1), %0" : "=r"(v) : "r"((uint64_t)offset));
	return v;
}

int task_start(struct task *t)
{
	uint64_t before;
	unsigned long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;

	if (t->keep == NULL)
		flags |= CLONE_FILES;
	struct tcb *tcb = (struct tcb *)(t->stack + TASK_STACK - TCB_ROOM);

	tcb->self = tcb;
	tcb->canary = read_fs(0x28);
	tcb->guard = read_fs(0x30);
	/* struct pthread's pointer to itself. */
	tcb->reserved[1] = (uint64_t)(uintptr_t)tcb;
	atomic_store(&t->ready, 0);

	signals_block(&before);
	long tid = clone_run(flags, (uint8_t *)tcb - TCB_ROOM, task_main, t, tcb);

	/* While another thread is inside exec, which will be the end of us or fail, the kernel refuses (kernel/fork.c copy_fs). */
	for (unsigned i = 0; tid == -EAGAIN && i < EXEC_PATIENCE; i++) {
		sys_sched_yield();
		tid = clone_run(flags, (uint8_t *)tcb - TCB_ROOM, task_main, t, tcb);
	}
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

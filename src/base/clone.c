#include "base/clone.h"

#include <errno.h>
#include <sched.h>

#include "base/sys.h"

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

_Static_assert(offsetof(struct tcb, canary) == 0x28, "psABI");

/* clone(2) that starts the child in run(arg) on a fresh stack. Returns the child's tid or -errno. */
__attribute__((naked)) static long clone_run(unsigned long flags __attribute__((unused)),
					     void *stack __attribute__((unused)),
					     void (*run)(void *) __attribute__((unused)),
					     void *arg __attribute__((unused)),
					     void *tls __attribute__((unused)),
					     uint32_t *gone __attribute__((unused)))
{
	__asm__("sub $16, %rsi\n\t"
		"mov %rdx, 0(%rsi)\n\t"
		"mov %rcx, 8(%rsi)\n\t"
		"xor %edx, %edx\n\t"
		"mov %r9, %r10\n\t"
		"mov $56, %eax\n\t" /* SYS_clone(flags, stack, ptid, ctid in r10, tls in r8) */
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

static uint64_t read_fs(unsigned offset)
{
	uint64_t v;

	__asm__ volatile("mov %%fs:(%1), %0" : "=r"(v) : "r"((uint64_t)offset));
	return v;
}

long clone_thread(unsigned long flags, uint8_t *stack, size_t bytes, void (*run)(void *arg), void *arg, uint32_t *gone)
{
	struct tcb *tcb = (struct tcb *)(stack + bytes - CLONE_TCB_ROOM);
	long tid;

	flags |= CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
	if (gone != NULL) {
		flags |= CLONE_CHILD_CLEARTID;
		__atomic_store_n(gone, 1, __ATOMIC_SEQ_CST);
	}
	tcb->self = tcb;
	tcb->canary = read_fs(0x28);
	tcb->guard = read_fs(0x30);
	/* struct pthread's pointer to itself. */
	tcb->reserved[1] = (uint64_t)(uintptr_t)tcb;
	tid = clone_run(flags, (uint8_t *)tcb - CLONE_TCB_ROOM, run, arg, tcb, gone);
	/* While another thread is inside exec, which will be the end of us or fail, the kernel refuses (kernel/fork.c copy_fs). */
	for (unsigned i = 0; tid == -EAGAIN && i < EXEC_PATIENCE; i++) {
		sys_sched_yield();
		tid = clone_run(flags, (uint8_t *)tcb - CLONE_TCB_ROOM, run, arg, tcb, gone);
	}
	if (tid < 0 && gone != NULL)
		__atomic_store_n(gone, 0, __ATOMIC_SEQ_CST);
	return tid;
}

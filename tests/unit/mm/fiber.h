/*
 * Fibers: several flows of control in one thread that switch where they are
 * told to, so that the interleavings of handler and pager are a function of
 * the seed. x86-64 System V; AddressSanitizer is told about the stacks.
 */
#ifndef STW_TEST_FIBER_H
#define STW_TEST_FIBER_H

#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define SWITCH_START(fake, to) __sanitizer_start_switch_fiber(fake, (to)->bottom, (to)->size)
#define SWITCH_DONE(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
#else
#define SWITCH_START(fake, to) ((void)(fake), (void)(to))
#define SWITCH_DONE(fake, bottom, size) ((void)(fake), (void)(bottom), (void)(size))
#endif

#define FIBER_STACK ((size_t)256 << 10)

struct fiber {
	void *sp;
	const void *bottom; /* of its stack */
	size_t size;
	void *fake;         /* the sanitizer's */
	void *stack;        /* allocated, or NULL: the thread's own */
	void (*run)(void);
};

/* The thread's own flow, and the one that runs. */
static struct fiber fiber_main, *fiber_current = &fiber_main;

/* Saves the callee-saved registers and the stack pointer, and takes up another flow where it did the same. */
__attribute__((naked, noinline)) static void fiber_swap(void **save __attribute__((unused)),
							void *load __attribute__((unused)))
{
	__asm__("push %rbp\n\tpush %rbx\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
		"mov %rsp, (%rdi)\n\t"
		"mov %rsi, %rsp\n\t"
		"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbx\n\tpop %rbp\n\t"
		"ret");
}

static void fiber_switch(struct fiber *to)
{
	struct fiber *from = fiber_current;

	SWITCH_START(&from->fake, to);
	fiber_current = to;
	fiber_swap(&from->sp, to->sp);
	SWITCH_DONE(from->fake, NULL, NULL);
}

static void fiber_entry(void)
{
	/* The first to come here came from the thread's own stack. */
	SWITCH_DONE(NULL, &fiber_main.bottom, &fiber_main.size);
	fiber_current->run();
	ASSERT(!"a fiber's function does not return");
}

/* run never returns; a fiber is dropped where it stands. */
static inline void fiber_make(struct fiber *f, void (*run)(void))
{
	f->stack = aligned_alloc(64, FIBER_STACK);
	ASSERT(f->stack != NULL);
	f->bottom = f->stack;
	f->size = FIBER_STACK;
	f->fake = NULL;
	f->run = run;

	/* Six registers, where to go on, and a word that keeps the stack aligned as after a call. */
	uint64_t *top = (uint64_t *)((uint8_t *)f->stack + FIBER_STACK) - 8;

	for (unsigned i = 0; i < 6; i++)
		top[i] = 0;
	top[6] = (uint64_t)(uintptr_t)fiber_entry;
	top[7] = 0;
	f->sp = top;
}

static inline void fiber_drop(struct fiber *f)
{
	free(f->stack);
	f->stack = NULL;
}

/* Back to the thread's own flow; does nothing there. */
static inline void fiber_yield(void)
{
	if (fiber_current != &fiber_main)
		fiber_switch(&fiber_main);
}

#endif

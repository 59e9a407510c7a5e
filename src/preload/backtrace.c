/*
 * Who called the allocator, for its profile. The unwinder is the compiler's,
 * linked statically: it finds the tables of a program counter without a lock
 * (glibc 2.35) and allocates nothing.
 */
#include <stdint.h>
#include <unwind.h>

#include "malloc/control.h"

/* Between them lies our own code, which is not to be in a stack: an object begins with its header, and variables come last. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
static char behind_code;

struct walk {
	uintptr_t *frames;
	size_t n, max;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	uintptr_t pc = _Unwind_GetIP(context);

	if (pc == 0 || w->n == w->max)
		return _URC_END_OF_STACK;
	if (w->n != 0 || pc < (uintptr_t)__ehdr_start || pc > (uintptr_t)&behind_code)
		w->frames[w->n++] = pc;
	return _URC_NO_REASON;
}

size_t malloc_unwind(uintptr_t *frames, size_t max)
{
	struct walk w = { .frames = frames, .max = max };

	_Unwind_Backtrace(step, &w);
	return w.n;
}

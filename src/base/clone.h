/*
 * A thread that the C library does not know: not counted when the program's
 * last thread ends, not visited by setuid, not the end of its single-threaded
 * shortcuts. In exchange it may use nothing of libc that needs struct pthread:
 * no cancellation point, no pthread function. errno and initial-exec variables
 * of our own are harmless.
 */
#ifndef STW_BASE_CLONE_H
#define STW_BASE_CLONE_H

#include "base/types.h"

#define CLONE_TCB_ROOM (16 * KIB) /* at the top of the stack, twice: below the TCB thread-local variables, above it struct pthread */

/*
 * Starts run(arg), which never returns (sys_exit), on the stack. It has the
 * caller's signal mask and descriptors; `flags` are added to those of clone(2)
 * that make a thread. gone, if not NULL, is 1 from now on and 0 when the kernel
 * needs the stack no more. Returns the thread's tid or -errno.
 */
long clone_thread(unsigned long flags, uint8_t *stack, size_t bytes, void (*run)(void *arg), void *arg, uint32_t *gone);

#endif

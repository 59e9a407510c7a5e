/* Inside libsteward-preload.so: what its files share. */
#ifndef STW_PRELOAD_PRELOAD_H
#define STW_PRELOAD_PRELOAD_H

#include "base/types.h"

#define EXPORT __attribute__((visibility("default")))

/* This process belongs to a run. False: every wrapper does what libc does, and nothing else. */
extern bool preload_attached;

/* This process has asked for a filter of system calls. */
extern bool preload_sandboxed;

struct ledger;

/*
 * [addr, addr + len) is new anonymous private memory of the program, or became writable:
 * lets the engine fence or manage it before anybody touches it. Keeps errno.
 */
void preload_mapped(void *addr, size_t len, bool writable);
/* The host must keep this range present (stacks with a TCB). */
void preload_unmanage(const void *addr, size_t len);
/*
 * The supervisor would take this process for another one, because its pid is of
 * another namespace, and its slot for one to be retired. Says so.
 */
bool preload_outside(struct ledger *l);
/* Registers the three below as fork handlers. Once, as early as possible. */
void preload_fork_init(void);
/* Before memory is copied, and afterwards in both, by the thread that forks. Keep errno. */
void preload_fork_begins(void);
void preload_fork_parent(void);
void preload_fork_child(void);
/* Tells the engine where the calling thread's CPU number stands. */
void preload_thread_starts(void);
void preload_thread_ends(void);
/* Under pressure, in a process that forks: what the C library writes to in the child before our handler runs is there. */
void preload_touch_ended(void);
/* One thread more is about to be made. And: one has ended, or was not made. */
void preload_thread_added(void);
void preload_thread_removed(void);
/* The calling thread is the program's last, and Steward has some in this process. */
bool preload_is_last(void);

#endif

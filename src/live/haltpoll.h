/*
 * haltpoll: a CPU on which somebody waits for a fast disk does not go to sleep.
 *
 * A CPU with nothing to do halts. In a virtual machine it takes 10 to 20 µs to come back, elsewhere as much from a
 * deep C-state: half of what a fast disk takes for a page (docs/performance.md). So while a handler waits for a
 * page, a thread of the launcher spins on its CPU. Its policy is SCHED_IDLE: whoever else can run there does so at
 * once, and the program's own CPU time does not show it. (Linux has the same in the idle loop of guests,
 * drivers/cpuidle/governors/haltpoll.c, and seldom uses it.) The launcher's threads that speak to servers do the same.
 *
 *     handler                                   launcher, one thread a CPU
 *     haltpoll_begin: until = now + SPAN ─────► spins until then, sleeps on a futex
 *     waits …
 *     haltpoll_end:   how long it was
 *
 * A wait that usually takes longer is slept through: there is little to gain. A handler that is killed meanwhile
 * leaves nothing to tidy up.
 */
#ifndef STW_LIVE_HALTPOLL_H
#define STW_LIVE_HALTPOLL_H

#include <stdatomic.h>

#include "base/types.h"

#define HALTPOLL_CPUS 64 /* on others CPUs sleep as ever; a bit each in `wanted` */

struct haltpoll_cpu {
	_Atomic uint64_t until;  /* monotonic ns */
	_Atomic uint32_t awake;  /* futex: 1 its thread looks by itself, 0 it sleeps, or there is none */
} __attribute__((aligned(64)));

/* Shared by all processes of a run; all zero: nobody spins. */
struct haltpoll {
	_Atomic uint32_t enabled; /* 1: the launcher starts threads for CPUs that are wanted */
	_Atomic uint32_t stop;
	_Atomic uint64_t wanted;  /* CPUs on which somebody has waited */
	struct haltpoll_cpu cpu[HALTPOLL_CPUS];
};

/* The side of one process: one thread of it. */
struct haltpoll_user {
	uint64_t usual_ns; /* what waits take, the mean of the last ones */
};

/* The calling thread is about to wait for a page, on that CPU (-1: unknown). */
void haltpoll_begin(const struct haltpoll_user *u, struct haltpoll *h, int cpu, uint64_t now);
/* It has waited for so long. */
void haltpoll_end(struct haltpoll_user *u, uint64_t ns);

/* The launcher's thread of a CPU, on which it runs alone: until haltpoll_stop. now_ns: CLOCK_MONOTONIC. */
void haltpoll_run(struct haltpoll *h, unsigned cpu, uint64_t (*now_ns)(void));
void haltpoll_stop(struct haltpoll *h);

#endif

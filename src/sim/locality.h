/* How a trace uses its pages, whatever the machine: its working set over time, and what LRU would miss with every size. */
#ifndef STW_SIM_LOCALITY_H
#define STW_SIM_LOCALITY_H

#include "sim/trace.h"

#define LOCALITY_WINDOWS 60 /* over the whole trace, of the shortest length; more than half of them are used at its end */

struct locality;

/* timed: the clock of windows is the programs' own time (ns, TRACE_TIME), all of them together; else touches. NULL: no memory. */
struct locality *locality_create(bool timed);
void locality_destroy(struct locality *l);

/* One event that has the law of traces; those that locality does not concern are passed over. 0 or -ENOMEM. */
int locality_event(struct locality *l, const struct trace_event *e);

/* Ticks of the clock so far. */
uint64_t locality_now(const struct locality *l);
/* Different pages that were touched; pages of the same address in two tasks are two. */
uint64_t locality_pages(const struct locality *l);
/*
 * The working set in windows of so many ticks: the shortest length that is kept, times 2^scale. pages[i] are different
 * pages touched in [i, i + 1) × length. Returns how many windows there are, LOCALITY_WINDOWS at most; *length is set.
 */
unsigned locality_windows(const struct locality *l, unsigned scale, uint64_t *length, uint32_t *pages);
/* Touches that miss in a memory of so many pages under LRU, first touches not counted. O(pages of the trace). */
uint64_t locality_misses(const struct locality *l, uint64_t pages);

/* Executes the laws. */
void locality_check(const struct locality *l);

#endif

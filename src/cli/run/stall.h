/* How much of their time the processes of a run wait for pages, and what is said or done when that is nearly all of it. */
#ifndef STW_CLI_RUN_STALL_H
#define STW_CLI_RUN_STALL_H

#include "cli/run/oom.h"

struct stall_options {
	unsigned percent;  /* --oom-on-stall: one process goes if some process has waited for so much of its time … */
	uint64_t lasts_ns; /* … for so long; 0: not given */
};

/* PCT:SECONDS. 0, or EXIT_USAGE after having said why. */
int stall_set_limit(struct stall_options *o, const char *value);

struct stall_task {
	uint64_t start_time;     /* whose figures these are */
	uint64_t stalled_ns;     /* at the last look */
	uint64_t began_ns;       /* of the first look */
	double average;          /* share of its time, 0 to 1 */
	uint64_t thrashes_since; /* the average has been above STALL_THRASHING, 0: it is not */
	uint64_t exceeds_since;  /* the same for the limit of the options */
};

struct stall {
	struct stall_options options;
	struct ledger *ledger;
	uint64_t looked_ns;
	bool warned;
	struct stall_task task[LEDGER_SLOTS];
};

void stall_init(struct stall *s, struct ledger *l);

/* Writes each process's share into its slot; warns once of thrashing; lets o kill at the limit. After each watch_scan(). */
void stall_tick(struct stall *s, struct oom *o, uint64_t now_ns);

#endif

/* What a run takes of the limit around it and is in no process's books. */
#ifndef STW_CLI_RUN_UNCOUNTED_H
#define STW_CLI_RUN_UNCOUNTED_H

#include "cli/cgroup.h"
#include "live/ledger.h"

struct uncounted {
	struct ledger *ledger;
	const struct cgroup_memory *cgroup;
	bool watches;        /* there is a limit, and it tells what is kept in memory */
	uint64_t before;     /* pages that were kept in it before the run */
	uint64_t looked_ns;  /* 0: no look yet */
	uint64_t most_pages; /* the largest part of the budget that was left for it */
};

/* Before the program starts. cgroup stays the caller's. */
void uncounted_init(struct uncounted *u, struct ledger *l, const struct cgroup_memory *cgroup);

/* Leaves more or less of the budget: ledger.uncounted_pages. Every tick. */
void uncounted_tick(struct uncounted *u, uint64_t now_ns);

/* One look, kept: pages kept in the limit now. For tests; uncounted_tick reads them of the cgroup. */
void uncounted_look(struct uncounted *u, uint64_t kept);

#endif

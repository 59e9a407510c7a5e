/* What of the budget is left to the page cache of the limit around the run. */
#ifndef STW_CLI_RUN_FILECACHE_H
#define STW_CLI_RUN_FILECACHE_H

#include "cli/cgroup.h"
#include "live/ledger.h"

struct filecache {
	struct ledger *ledger;
	const struct cgroup_memory *cgroup;
	bool watches;       /* there is a limit, and it tells of refaults */
	uint64_t refaults;  /* at the last look */
	uint64_t looked_ns; /* 0: no look yet */
	uint64_t calm_ns;   /* since when nothing was missing; 0: something is */
	uint64_t missed_ns; /* when files were missed last; 0: never */
	uint64_t left_pages; /* of the budget */
	uint64_t most_pages; /* the largest that was left to it */
};

/* cgroup stays the caller's. */
void filecache_init(struct filecache *p, struct ledger *l, const struct cgroup_memory *cgroup);

/* Leaves more or less of the budget: ledger.left_pages. Every tick. */
void filecache_tick(struct filecache *p, uint64_t now_ns);

/* One look, refaults: file pages read back so far. For tests; filecache_tick reads them of the cgroup. */
void filecache_look(struct filecache *p, uint64_t refaults, uint64_t now_ns);

#endif

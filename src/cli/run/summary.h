/* What a run tells at its end: some lines for people, a JSON file for programs. */
#ifndef STW_CLI_RUN_SUMMARY_H
#define STW_CLI_RUN_SUMMARY_H

#include "cli/run/filecache.h"
#include "cli/run/squeeze.h"
#include "cli/run/supervise.h"
#include "cli/run/uncounted.h"
#include "cli/run/watch.h"

struct summary {
	char **argv;                    /* the command */
	const char *budget_from;        /* "--ram", "cgroup" or "memory" */
	const struct ledger *ledger;
	const struct watch *watch;
	const struct watch_total *total;
	const struct outcome *outcome;
	const struct squeeze *squeeze;
	const struct cgroup_memory *cgroup;
	const struct filecache *filecache;
	const struct uncounted *uncounted;
	uint64_t launcher_bytes;        /* memory of launcher and ledger at the end */
	uint64_t killed_outside;        /* processes that the kernel killed at the limit of the cgroup during the run */
};

/* Prints to stderr: one line if the program fitted, else a table. With verbose every counter that is not zero. */
void summary_print(const struct summary *s, bool verbose);

/* Writes the file that docs/stats-schema.md describes to fd; 0 or -errno. */
int summary_write(const struct summary *s, int fd);

#endif

/* How much memory a run may use when nobody says, and where its swap file goes. */
#ifndef STW_CLI_RUN_BUDGET_H
#define STW_CLI_RUN_BUDGET_H

#include "cli/cgroup.h"
#include "live/swapspec.h"

/* Below this nothing useful fits beside Steward's own tables. */
#define BUDGET_FLOOR (8 * MIB)

struct budget {
	uint64_t bytes;
	const char *from;    /* "cgroup" or "memory" */
	uint64_t available;  /* MemAvailable, bytes; 0 if unknown */
	uint64_t total;      /* MemTotal, bytes; 0 if unknown */
	struct cgroup_memory cgroup;
};

/*
 * `--ram auto`: the tightest limit of the control groups less a headroom of
 * 1/32 of it, at least 8 MiB. Without a limit, or if the machine has less
 * available than the limit allows: 3/4 of MemAvailable. Returns 0 or -errno;
 * bytes may come out below BUDGET_FLOOR. root as in cgroup_memory_read().
 */
int budget_auto(const char *root, struct budget *out);

struct swap_dir {
	char path[SWAP_PATH_MAX]; /* empty: none was found */
	uint64_t free;      /* bytes free to this user */
	bool direct;        /* O_DIRECT works */
};

/*
 * Finds a directory for the swap file: the first of $TMPDIR, /tmp and /var/tmp
 * that can be written to, has a few MiB free, and is not itself memory (tmpfs, ramfs).
 */
void swap_dir_find(struct swap_dir *out);

#endif

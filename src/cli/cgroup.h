/* The limits that control groups put on this process: version 1, version 2, and the mix of both. */
#ifndef STW_CLI_CGROUP_H
#define STW_CLI_CGROUP_H

#include "base/types.h"

#define CGROUP_NO_LIMIT UINT64_MAX

struct cgroup_memory {
	int version;         /* 1 or 2; 0: no memory controller to be seen */
	uint64_t limit;      /* bytes: the tightest of the hierarchy, or CGROUP_NO_LIMIT */
	uint64_t usage;      /* bytes used in the group that sets the limit, else in the own group; 0 if unknown */
	uint64_t swap_limit; /* bytes of kernel swap allowed, tightest of the hierarchy, or CGROUP_NO_LIMIT */
	char file[512];      /* the file that sets the limit; empty without one */
};

/*
 * Reads ROOT/proc/self/{cgroup,mountinfo} and the limit files they lead to.
 * root is "" for this machine; tests pass a directory that looks like one.
 * Whatever is missing or unreadable counts as "no limit". Returns 0, or
 * -errno if /proc/self cannot be read at all.
 */
int cgroup_memory_read(const char *root, struct cgroup_memory *out);

/*
 * How many file pages came back soon after they were dropped, in the group that sets the limit and below, since it was made.
 * False: there is no limit, or it does not tell (before Linux 5.9).
 */
bool cgroup_file_refaults(const char *root, const struct cgroup_memory *group, uint64_t *pages);

/*
 * Anonymous and shared memory, bytes, of the group that sets the limit and those below: what the kernel cannot drop for it, but for its own.
 * False: there is no limit, or it does not tell (version 1 before Linux 4.14).
 */
bool cgroup_kept(const char *root, const struct cgroup_memory *group, uint64_t *bytes);

/*
 * How many processes the kernel has killed because the limit was reached, in the group that sets it since that was made; version 1
 * counts those of groups below there. 0: there is no limit, or it does not tell.
 */
uint64_t cgroup_oom_kills(const char *root, const struct cgroup_memory *group);

/*
 * CPU time is rationed, in the own group or above it as far as can be seen: a group that has used its share up is stopped for a while.
 * root: as above. False also if nothing tells.
 */
bool cgroup_cpu_quota(const char *root);

#endif

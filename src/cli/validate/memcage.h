/* A control group with a memory limit, of either version, to run something inside. Needs root. */
#ifndef STW_CLI_VALIDATE_MEMCAGE_H
#define STW_CLI_VALIDATE_MEMCAGE_H

#include <limits.h>
#include <sys/types.h>

#include "base/types.h"

/* Where cages are made: the root of the hierarchy that has the memory controller. */
struct memcage_root {
	int version;   /* 1 or 2 */
	char dir[256];
};

struct memcage {
	int version;
	char dir[PATH_MAX];
};

/* 0, or -ENOENT: there is no memory controller to be seen, or -EACCES and the like: it cannot be handed down (v2). */
int memcage_find(struct memcage_root *r);
/*
 * Makes the group NAME. limit: bytes. swappiness: 0 to 200; a group of version 2 has none of its own and goes by
 * vm.swappiness. 0 or -errno.
 */
int memcage_open(struct memcage *c, const struct memcage_root *r, const char *name, uint64_t limit, unsigned swappiness);
/* Ends every process inside and removes the group. 0 or -errno: it is still there. */
int memcage_close(struct memcage *c);
/* Closes what an earlier process has left behind: every group whose name begins with prefix. */
void memcage_sweep(const struct memcage_root *r, const char *prefix);

/* A file of the group for O_RDONLY or O_WRONLY; a descriptor or -errno. */
int memcage_file(const struct memcage *c, const char *name, int how);
/* Bytes charged to it now; of these, what is the kernel's (tables, stacks, slabs). 0 where the kernel does not tell. */
uint64_t memcage_usage(const struct memcage *c);
uint64_t memcage_kernel(const struct memcage *c);
/* The most of each so far; the kernel's of version 2 is what it is now. */
uint64_t memcage_peak(const struct memcage *c);
uint64_t memcage_kernel_peak(const struct memcage *c);
/* Processes that the OOM killer has ended in it. */
uint64_t memcage_oom_kills(const struct memcage *c);

#endif

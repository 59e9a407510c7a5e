/* What the kernel says that a process has in memory: /proc/PID/statm and smaps_rollup. In pages. */
#ifndef STW_CLI_PROCMEM_H
#define STW_CLI_PROCMEM_H

#include "base/types.h"

struct procmem {
	uint64_t resident; /* everything, files and shared memory included */
	uint64_t shared;   /* of it files and shared memory */
};

/* Each page divided by the number of those who map it: the parts of all add up to what is there. */
struct procmem_part {
	uint64_t anon;
	uint64_t anon_whole; /* the same pages, not divided */
	uint64_t shared;     /* files and shared memory */
};

/* 0, or -errno; then it is all zero. */
int procmem_read(int32_t pid, struct procmem *m);
/* The same. The kernel walks the page tables for it: some 20 ns a page. */
int procmem_read_part(int32_t pid, struct procmem_part *part);
/*
 * Pages that it may write to without asking anybody, private ones, and has not; areas of more than largest pages, which are reserved rather than
 * used, do not count. 0 or -errno. It reads /proc/PID/smaps: 0.1 ms for a small process.
 */
int procmem_read_untouched(int32_t pid, uint64_t largest, uint64_t *pages);

#endif

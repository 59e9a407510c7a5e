/*
 * Event counters, named as in /proc/vmstat where Linux has them. One list: the
 * ledger, the summary and the JSON statistics are made from it.
 */
#ifndef STW_MM_STAT_H
#define STW_MM_STAT_H

#include "base/types.h"

/* Pages or events, unless the text says otherwise. */
#define VM_COUNTERS(X) \
	X(pgfault, "faults served by Steward")                          \
	X(pgminor, "of them: first touch, filled with zeros")           \
	X(pgsoft, "of them: the page was resident but unmapped")        \
	X(pgmajfault, "of them: the page came back from a store")       \
	X(pgspurious, "of them: already mapped when looked at")         \
	X(pgfill_ahead, "pages filled with zeros along with one touched first") \
	X(pswpin, "pages read back, read-ahead included")             \
	X(swap_ra, "of them: read ahead")                               \
	X(pswpout, "pages written to a store")                        \
	X(swap_ra_hit, "faults that continued a stream read ahead")     \
	X(pgdemote, "pages passed on from the pool to the places below it")   \
	X(pgpromote, "pages read back from below the pool that belong into it")   \
	X(pgsame, "pages out that were one repeated word")              \
	X(pgclean, "pages dropped because their copy was still valid")  \
	X(pgdiscard, "pages dropped because the heap had freed them")   \
	X(pgactivate, "inactive pages found hot")                       \
	X(pgdeactivate, "pages unmapped as a sample")                   \
	X(pgscan_kswapd, "pages looked at by kswapd")                   \
	X(pgscan_direct, "pages looked at by direct reclaim")           \
	X(pgsteal_kswapd, "pages freed by kswapd")                      \
	X(pgsteal_direct, "pages freed by direct reclaim")              \
	X(allocstall, "faults that had to wait for reclaim")            \
	X(kswapd_wake, "times kswapd was woken")                        \
	X(workingset_refault, "pages read back that had been evicted")  \
	X(workingset_activate, "of them: within the working set")       \
	X(pgcopied, "pages copied because they could not be moved")     \
	X(pgcow, "faults that copied a shared page on write")          \
	X(pgreuse, "faults that made a page writable, because nobody else has it") \
	X(pgaround, "pages of files mapped along with one that faulted") \
	X(pgfilein, "pages of files read, read-ahead included")         \
	X(pgfileout, "pages of files written back")                     \
	X(thp_fault_alloc, "huge pages that a first touch got")         \
	X(thp_split_page, "huge pages that were split")                 \
	X(oom_kill, "processes killed for want of memory")              \
	X(fault_frames, "frames that there were, summed over faults")  \
	X(stall_ns, "time that threads waited for their fault, ns")     \
	X(kswapd_ns, "time that kswapd worked, ns")

enum vm_counter {
#define VM_COUNTER_ENUM(name, text) VM_##name,
	VM_COUNTERS(VM_COUNTER_ENUM)
#undef VM_COUNTER_ENUM
	VM_COUNTER_NR
};

#endif

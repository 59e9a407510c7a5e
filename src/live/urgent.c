#include "live/urgent.h"

#include <sched.h>

#include "base/sys.h"
#include "base/types.h"

#define URGENT_SLICE_NS 100000 /* 0.1 ms, the kernel's minimum */

/* sched_setattr(2); libc 2.36 declares neither. */
struct sched_attr {
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
	uint32_t sched_util_min, sched_util_max;
};

/*
 * The handler has little to do and should do it at once: a short slice lets a
 * thread that wakes up take the CPU from one that has a longer one
 * (kernel/sched/fair.c, PREEMPT_SHORT; Linux 6.12). Before that it changes nothing.
 */
void urgent(void)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	if (sys_call6(SYS_sched_getattr, 0, (long)&attr, sizeof(attr), 0, 0, 0) < 0 || attr.sched_policy != SCHED_OTHER)
		return;
	attr.sched_runtime = URGENT_SLICE_NS;
	sys_call3(SYS_sched_setattr, 0, (long)&attr, 0);
}

/* /proc/PID/stat: who a process is, whose child, and since when. */
#ifndef STW_CLI_PROCSTAT_H
#define STW_CLI_PROCSTAT_H

#include "base/types.h"

struct procstat {
	char state;        /* 'R', 'S', 'T', 'Z' … */
	int32_t parent;
	uint64_t faults;   /* field 10: page faults without a read, of all its threads */
	uint64_t threads;
	uint64_t start;    /* field 22: clock ticks after boot; tells a pid that was given away again */
};

/* 0, or -errno: -ENOENT or -ESRCH if there is no such process. */
int procstat_read(int32_t pid, struct procstat *s);

/*
 * A zombie without further threads: its memory is free already. (A thread group
 * whose leader has left also shows Z; its threads go on.)
 */
static inline bool procstat_ended(const struct procstat *s)
{
	return (s->state == 'Z' || s->state == 'X') && s->threads <= 1;
}

/* By a signal, or by who traces it. */
static inline bool procstat_stopped(const struct procstat *s)
{
	return s->state == 'T' || s->state == 't';
}

/* The same of a process; false if there is none. */
bool procstat_is_stopped(int32_t pid);

#endif

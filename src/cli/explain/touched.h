/* Which pages a trace has touched, by task. */
#ifndef STW_CLI_EXPLAIN_TOUCHED_H
#define STW_CLI_EXPLAIN_TOUCHED_H

#include <stddef.h>

#include "base/types.h"

struct touched {
	uint64_t *vpns;    /* those of the first task, ascending, then those of the next */
	size_t nr;
	size_t *end;       /* of each task: index behind its last */
	unsigned nr_tasks; /* that touched something */
};

/*
 * Reads the whole trace; "-" is standard input. 0, or the exit status after having said why. The caller frees both
 * arrays.
 */
int touched_read(struct touched *t, const char *trace);

#endif

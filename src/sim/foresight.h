/*
 * Foresight: for each access of a trace, which access touches the same page next. For the optimal policy (policy/opt.c),
 * which is a yardstick because no machine has this.
 */
#ifndef STW_SIM_FORESIGHT_H
#define STW_SIM_FORESIGHT_H

#include "sim/trace.h"

/* next[i]: the number, from 0, of the access that touches the page of access i again; UINT64_MAX: none. */
struct foresight {
	uint64_t *next;
	uint64_t n, room; /* accesses; as many as there is room for */
};

/*
 * Reads the trace to its end; the replay needs a reader of its own. Takes 8 bytes an access in a file without a name in
 * dir, and 32 a page in memory. f is empty ({ 0 }). 0; -errno of the file (-ENOSPC, …), error->err is 0 then; -ENOMEM; or the
 * reader's, with *error.
 */
int foresight_read(struct foresight *f, struct trace_reader *r, const char *dir, struct trace_error *error);
/* f may be empty, and is so afterwards. */
void foresight_drop(struct foresight *f);

#endif

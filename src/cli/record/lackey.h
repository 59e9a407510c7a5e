/* The log of valgrind's tool lackey, as it comes in, into events of a trace. */
#ifndef STW_CLI_RECORD_LACKEY_H
#define STW_CLI_RECORD_LACKEY_H

#include "cli/procstat.h"
#include "cli/record/tracee.h"

struct lackey_process;

/* All zeros but for r, name and look at first. */
struct lackey {
	struct recording *r;
	const char *name;               /* of the program */
	int (*look)(int32_t pid, struct procstat *s); /* procstat_read, or a test's own */
	struct lackey_process **process;
	size_t nr, room;
	uint64_t bytes;                 /* of log, so far */
	bool drained;                   /* since the last lackey_sweep nothing was left to read for a moment */
};

/* len bytes of log that process pid has written, after those it wrote before. Errors: l->r->err. */
void lackey_input(struct lackey *l, int32_t pid, const char *bytes, size_t len);
/* Processes that ended without a word are ended in the trace. gone(pid): is it? */
void lackey_sweep(struct lackey *l, bool (*gone)(int32_t pid));
/* The recording is over: all that are left end. */
void lackey_end(struct lackey *l);

#endif

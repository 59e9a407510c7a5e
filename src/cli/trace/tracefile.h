/* Traces that commands read: opening them, and saying what is wrong with one. */
#ifndef STW_CLI_TRACE_TRACEFILE_H
#define STW_CLI_TRACE_TRACEFILE_H

#include "sim/trace.h"

struct tracefile {
	const char *name;
	int fd;
	struct trace_reader *reader;
};

/* "-" is standard input. 0, or an exit status after having said why. */
int tracefile_open(struct tracefile *t, const char *name);
/* Says what trace_read() found; returns the exit status. */
int tracefile_fail(const struct tracefile *t, const struct trace_error *e);
void tracefile_close(struct tracefile *t);

#endif

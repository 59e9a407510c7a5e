/* The subcommands of steward trace, one file each. */
#ifndef STW_CLI_TRACE_TRACE_H
#define STW_CLI_TRACE_TRACE_H

#include "cli/trace/tracefile.h"

struct trace_request {
	const char *json;       /* NULL: none */
	bool from_given;
	bool count_given;
	uint64_t from;          /* number of the first event to print */
	uint64_t count;         /* UINT64_MAX: all */
};

/* Each reads t to its end; the exit status. */
int trace_info(struct tracefile *t, const struct trace_request *o);
int trace_dump(struct tracefile *t, const struct trace_request *o);

#endif

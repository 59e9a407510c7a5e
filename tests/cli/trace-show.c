/* Prints the events of a trace, one a line: op, task, thread, flags, vpn, n, arg and file in decimal, then the text. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "sim/trace.h"

int main(int argc, char **argv)
{
	struct trace_event events[256];
	struct trace_error error;
	struct trace_reader *r = argc == 2 ? trace_reader_open(open(argv[1], O_RDONLY), &error) : NULL;
	struct trace_totals totals;
	long n = -1;

	while (r != NULL && (n = trace_read(r, events, 256, &error)) > 0) {
		for (long i = 0; i < n; i++) {
			const struct trace_event *e = &events[i];

			printf("%s %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %s\n", trace_op_name(e->op), e->task, e->thread,
			       e->flags, e->vpn, e->n, e->arg, e->file, e->text != NULL ? e->text : "");
		}
	}
	if (n < 0)
		return 1;
	trace_reader_totals(r, &totals);
	printf("totals %s %" PRIu64 "\n", totals.sampled ? "sampled" : "exact", totals.events);
	trace_reader_close(r);
	return 0;
}

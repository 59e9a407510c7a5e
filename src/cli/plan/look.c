/* The first pass over the trace: whether it is whole, and what it says whatever the machine. */
#include <stdlib.h>

#include "cli/msg.h"
#include "cli/plan/plan.h"
#include "cli/trace/tracefile.h"

#define BATCH 4096

/* Its clock is the programs' own time if the first events tell any. */
static bool is_timed(const struct trace_event *e, long n)
{
	for (long i = 0; i < n; i++)
		if (e[i].op == TRACE_TIME)
			return true;
	return false;
}

/* 0, or the exit status after having said why. */
static int pass(struct plan *p, struct tracefile *file, struct trace_event *e)
{
	struct trace_error error;
	struct trace_totals totals;
	long n;
	int err = 0;

	while (err == 0 && (n = trace_read(file->reader, e, BATCH, &error)) != 0) {
		if (n < 0)
			return tracefile_fail(file, &error);
		if (p->locality == NULL) {
			p->timed = is_timed(e, n);
			p->locality = locality_create(p->timed);
		}
		if (p->locality == NULL)
			break;
		for (long i = 0; i < n && err == 0; i++)
			err = locality_event(p->locality, &e[i]);
	}
	if (err != 0)
		return msg_fail(1, file->name, "its footprint does not fit in memory; try where there is more");
	if (p->locality == NULL || locality_pages(p->locality) == 0)
		return msg_fail(EXIT_USAGE, file->name, "no page is touched in it; record what the program does");
	p->sampled = trace_reader_totals(file->reader, &totals) && totals.sampled;
	return 0;
}

int plan_look(struct plan *p)
{
	struct trace_event *e = malloc(BATCH * sizeof(*e));
	struct tracefile file;
	int status;

	if (e == NULL)
		return msg_fail(1, p->request->trace, "no memory to read it; free some");
	status = tracefile_open(&file, p->request->trace);
	if (status == 0) {
		status = pass(p, &file, e);
		tracefile_close(&file);
	}
	free(e);
	for (unsigned i = 0; status == 0 && i < PLAN_LENGTHS; i++) {
		struct plan_windows *w = &p->windows[i];

		w->n = locality_windows(p->locality, 2 * i, &w->length, w->pages);
	}
	return status;
}

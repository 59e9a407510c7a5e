#include <stdio.h>
#include <stdlib.h>

#include "cli/run/recorder.h"

static void describe(struct flight_oom_task *to, const struct oom_scan *scan, const struct oom_task *t)
{
	int64_t points = oom_points(scan, t);

	*to = (struct flight_oom_task){
		.pid = (int32_t)t->pid,
		.resident = t->rss_anon + t->rss_file + t->rss_shmem,
		.swapped = t->swapents,
		.tables_bytes = t->pgtables_bytes,
		.adj = t->oom_score_adj,
		.never = points == OOM_NEVER,
		.points = points == OOM_NEVER ? 0 : points,
	};
	snprintf(to->name, sizeof(to->name), "%s", t->name);
}

void recorder_oom(const char *what, const struct oom_scan *scan, const struct oom_task *rows, unsigned n)
{
	struct flight_oom o = { .victim = n, .task = calloc(MAX(n, 1), sizeof(*o.task)), .nr = n };
	struct flight_bytes *b = o.task != NULL ? recorder_begin() : NULL;

	if (b != NULL) {
		snprintf(o.what, sizeof(o.what), "%s", what);
		for (unsigned i = 0; i < n; i++) {
			describe(&o.task[i], scan, &rows[i]);
			if (scan->outcome == OOM_KILL && rows[i].engine == scan->victim.engine)
				o.victim = i;
		}
		flight_put_oom(b, &o);
		recorder_end(FLIGHT_OOM, 0);
	}
	free(o.task);
}

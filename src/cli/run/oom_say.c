/* What the OOM killer says: one line for the choice, and with -v the table that it was made from. */
#include <stdio.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/run/oom.h"
#include "cli/table.h"

static const char *pages_text(uint64_t pages)
{
	return size_text(pages << PAGE_SHIFT);
}

void oom_say_rows(const struct oom_scan *scan, const struct oom_task *rows, unsigned n)
{
	fprintf(stderr, "  %8s %-16s %10s %10s %10s %6s %12s\n", "pid", "name", "resident", "swapped", "tables", "adj", "points");
	for (unsigned i = 0; i < n; i++) {
		const struct oom_task *t = &rows[i];
		int64_t points = oom_points(scan, t);
		char number[24], name[sizeof(t->name)];

		memcpy(name, t->name, sizeof(name));
		msg_clean(name);
		snprintf(number, sizeof(number), "%lld", (long long)points);
		fprintf(stderr, "  %8u %-16s %10s %10s %10s %6d %12s%s\n", t->pid, name,
			pages_text(t->rss_anon + t->rss_file + t->rss_shmem), pages_text(t->swapents),
			size_text(t->pgtables_bytes), t->oom_score_adj, points == OOM_NEVER ? "never" : number,
			scan->outcome == OOM_KILL && t->engine == scan->victim.engine ? "  ◄" : "");
	}
}

void oom_say_choice(const struct oom_scan *scan, const char *what, const char *done, const char *which, uint64_t need_pages,
		    struct watch *w)
{
	const struct oom_task *v = &scan->victim;
	char line[sizeof(w->fatal)], need[64] = "";

	if (need_pages > w->ledger->ram_pages)
		snprintf(need, sizeof(need), " (all processes need %s so far)", pages_text(need_pages));

	snprintf(line, sizeof(line), "%s: %s %s (pid %u): %s%s, %s = %s resident + %s swapped + %s page tables; "
		 "raise --ram%s, or give more with --swap", what, done, v->name, v->pid, which[0] != '\0' ? which : "it ",
		 oom_reason_text(oom_scan_reason(scan)), pages_text(oom_footprint(v)),
		 pages_text(v->rss_anon + v->rss_file + v->rss_shmem), pages_text(v->swapents), size_text(v->pgtables_bytes),
		 need);
	msg_note("%s", line);
	if (w->fatal[0] == '\0')
		memcpy(w->fatal, line, sizeof(line));
}

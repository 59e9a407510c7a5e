/* A plan as a page: the headline, time and faults against memory, all sizes that were tried. */
#include <math.h>
#include <stdio.h>

#include "cli/html.h"
#include "cli/msg.h"
#include "cli/plan.h"
#include "cli/table.h"

static const char *const ends[] = { "done", "given up", "killed", "does not run" };

static void charts(struct html *h, const struct plan *p)
{
	static struct plan_curves curves;
	struct chart time, faults;
	char text[PLAN_MARK_TEXT];

	plan_curves(p, &curves, &time, &faults, text);
	html_section(h, p->limit ? "Against the limit" : "Against memory");
	html_chart(h, &time);
	html_chart(h, &faults);
}

static void points(struct html *h, const struct plan *p)
{
	static const char *const heads[] = { "size", "time", "times", "minor faults", "major faults", "to swap", "from swap",
					     "looked at", "used", "<end" };
	char text[9][48];
	const char *cell[10];
	struct fmt f[9];

	html_section(h, "Sizes that were tried");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < p->nr_points; i++) {
		const struct plan_point *r = &p->point[i];
		const uint64_t counts[] = { r->minor, r->major, r->swapped_out, r->swapped_in, r->scanned };

		for (unsigned k = 0; k < ARRAY_SIZE(f); k++) {
			fmt_init(&f[k], text[k], sizeof(text[k]));
			cell[k] = text[k];
		}
		fmt_str(&f[0], plan_size(r->bytes, (char[PLAN_SIZE_TEXT]){ 0 }));
		put_time(&f[1], "", (uint64_t)r->time_ns, "");
		fmt_fixed(&f[2], (uint64_t)(plan_times(p, r) * 100 + 0.5), 2);
		for (unsigned k = 0; k < ARRAY_SIZE(counts); k++)
			put_count(&f[3 + k], counts[k]);
		put_bytes(&f[8], "", r->used_max_bytes, "");
		cell[9] = r->bytes == p->answer.keeps ? "done: the answer" : ends[r->end];
		html_row(h, heads, cell, ARRAY_SIZE(cell));
	}
	html_table_end(h);
	if (p->grain > 0) {
		snprintf(text[0], sizeof(text[0]), "Sizes are multiples of %llu KiB.", (unsigned long long)(p->grain >> 10));
		html_text(h, text[0]);
	}
}

int plan_html(const struct plan *p, const char *path)
{
	struct html h;
	char title[SIM_NAME_MAX * 2 + 80], text[PLAN_HEADLINE_TEXT];

	snprintf(title, sizeof(title), "steward plan: %s, policy %s%s", p->request->machine.name, p->request->machine.policy,
		 p->sampled ? "; from samples of the touches" : "");
	if (html_begin(&h, title, plan_headline(p, text, sizeof(text))) != 0)
		return msg_fail(1, path, "no memory for the page; free some");
	charts(&h, p);
	points(&h, p);
	return html_finish(&h, path);
}

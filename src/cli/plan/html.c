/* A plan as a page: the headline, time and faults against memory, all sizes that were tried. */
#include <math.h>
#include <stdio.h>

#include "cli/draw/html_cells.h"
#include "cli/msg.h"
#include "cli/plan/plan.h"
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
	chart_add(&faults, "LRU, by the trace alone", curves.size, curves.lru, p->nr_points);
	html_chart(h, &faults);
}

/* Steps: a window has one value from its beginning to its end, just before which is the next one's beginning. */
static void working_set(struct html *h, const struct plan *p)
{
	static double x[PLAN_LENGTHS][2 * LOCALITY_WINDOWS], y[PLAN_LENGTHS][2 * LOCALITY_WINDOWS];
	double end = (double)locality_now(p->locality);
	struct chart c = { .title = "Different pages touched in a window", .y_unit = CHART_BYTES };
	char name[PLAN_LENGTHS][48];

	c.x_unit = p->timed ? CHART_TIME : CHART_COUNT;
	for (unsigned k = 0; k < PLAN_LENGTHS; k++) {
		const struct plan_windows *w = &p->windows[k];
		char text[32];

		for (unsigned i = 0; i < w->n; i++) {
			x[k][2 * i] = MIN((double)(i * w->length), end);
			x[k][2 * i + 1] = MIN((double)((i + 1) * w->length - 1), end);
			y[k][2 * i] = y[k][2 * i + 1] = (double)(w->pages[i] * (uint64_t)PAGE_SIZE);
		}
		snprintf(name[k], sizeof(name[k]), "%s%s", chart_text(c.x_unit, (double)w->length, text, sizeof(text)),
			 p->timed ? "" : " touches");
		chart_add(&c, name[k], x[k], y[k], 2 * w->n);
	}
	html_section(h, "Working set");
	html_chart(h, &c);
}

static void points(struct html *h, const struct plan *p)
{
	static const char *const heads[] = { "size", "time", "times", "minor faults", "major faults", "to swap", "from swap",
					     "looked at", "LRU misses", "used", "<end" };
	struct html_cells c = { 0 };

	html_section(h, "Sizes that were tried");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < p->nr_points; i++) {
		const struct plan_point *r = &p->point[i];
		const uint64_t counts[] = { r->minor, r->major, r->swapped_out, r->swapped_in, r->scanned, r->lru_misses };
		char size[PLAN_SIZE_TEXT], times[32];

		cell_text(&c, plan_size(r->bytes, size));
		cell_time(&c, (uint64_t)r->time_ns);
		snprintf(times, sizeof(times), "> %d", PLAN_LATE);
		if (r->end != PLAN_LATE_END)
			snprintf(times, sizeof(times), "%.2f", plan_times(p, r));
		cell_text(&c, times);
		for (unsigned k = 0; k < ARRAY_SIZE(counts); k++)
			cell_count(&c, counts[k]);
		cell_bytes(&c, r->used_max_bytes);
		cell_text(&c, r->bytes == p->answer.keeps ? "done: the answer" : ends[r->end]);
		cells_end(&c, h);
	}
	html_table_end(h);
	if (p->grain > 0) {
		char text[64];

		snprintf(text, sizeof(text), "Sizes are multiples of %llu KiB.", (unsigned long long)(p->grain >> 10));
		html_text(h, text);
	}
}

void plan_page(const struct plan *p, struct html *h)
{
	char title[SIM_NAME_MAX * 2 + 1024], text[PLAN_HEADLINE_TEXT];

	snprintf(title, sizeof(title), "steward plan: %s on %s, policy %s%s", p->request->trace, p->request->machine.name,
		 p->request->machine.policy, p->sampled ? "; from samples of the touches" : "");
	html_input(h, title, plan_headline(p, text, sizeof(text)));
	charts(h, p);
	working_set(h, p);
	points(h, p);
}

int plan_html(const struct plan *p, const char *path)
{
	struct html h;

	if (html_begin(&h, "steward plan") != 0)
		return msg_fail(1, path, "no memory for the page; free some");
	plan_page(p, &h);
	return html_finish(&h, path);
}

/*
 * steward sim --report: what happened, as a page. The headline, how memory was used over time and on each node, faults and
 * work by the second, the TLBs, each process, and whom the OOM killer chose and why.
 *
 * A sample of the timeline has sums since the beginning; a rate is the difference of two over the time between them.
 */
#include "cli/sim/html.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/draw/html_cells.h"
#include "cli/msg.h"
#include "cli/simfigures.h"
#include "cli/table.h"

#define TASKS_DRAWN 6
#define TASKS_LISTED 100

/* Columns of numbers, one a line of a chart; all have nr rows. */
struct series_data {
	double x[SIM_SAMPLES], y[CHART_SERIES_MAX][SIM_SAMPLES];
};

static double pages(uint64_t n)
{
	return (double)(n << PAGE_SHIFT);
}

/* A value of one sample, or of two for a rate. */
typedef double value_of(const struct sim *s, const struct sim_sample *p, const struct sim_sample *before, unsigned which);

struct line {
	const char *name;
	value_of *value;
	unsigned which;
};

/* Not always nothing: a line along the axis only hides others. */
static bool ever(const double *y, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (y[i] > 0)
			return true;
	return false;
}

static void draw(struct html *h, const struct sim *s, struct series_data *d, const char *title, enum chart_unit unit,
		 const struct line *line, unsigned nr)
{
	static const struct sim_sample start;
	struct chart c = { .title = title, .x_unit = CHART_TIME, .y_unit = unit };

	for (unsigned i = 0; i < s->nr_samples; i++) {
		d->x[i] = s->sample[i].now_ns;
		for (unsigned k = 0; k < nr; k++)
			d->y[k][i] = line[k].value(s, &s->sample[i], i > 0 ? &s->sample[i - 1] : &start, line[k].which);
	}
	for (unsigned k = 0; k < nr; k++)
		if (ever(d->y[k], s->nr_samples))
			chart_add(&c, line[k].name, d->x, d->y[k], s->nr_samples);
	if (c.nr_series == 0)
		chart_add(&c, line[0].name, d->x, d->y[0], s->nr_samples);
	html_chart(h, &c);
}

static double rate(const struct sim_sample *p, const struct sim_sample *before, uint64_t now, uint64_t then)
{
	double seconds = (p->now_ns - before->now_ns) / 1e9;

	return seconds > 0 && now >= then ? (double)(now - then) / seconds : NAN;
}

#define VALUE(name, expression) \
	static double name(const struct sim *s, const struct sim_sample *p, const struct sim_sample *b, unsigned i) \
	{ \
		(void)s; \
		(void)p; \
		(void)b; \
		(void)i; \
		return expression; \
	}

VALUE(v_free, pages(p->free[i]))
VALUE(v_mark_min, pages(phys_wmark(&s->m.phys, i, WMARK_MIN)))
VALUE(v_mark_low, pages(phys_wmark(&s->m.phys, i, WMARK_LOW)))
VALUE(v_mark_high, pages(phys_wmark(&s->m.phys, i, WMARK_HIGH)))
VALUE(v_charged, pages(p->charged + p->tables))
VALUE(v_limit, pages(s->m.limit))
VALUE(v_list, pages(p->lists[i]))
VALUE(v_sample, pages(p->sample))
VALUE(v_tables, pages(p->tables))
VALUE(v_swap, pages(p->swap_used))
VALUE(v_dirty, pages(p->dirty))
VALUE(v_fault, rate(p, b, p->faults[i], b->faults[i]))
VALUE(v_scan, rate(p, b, p->scanned, b->scanned))
VALUE(v_in, rate(p, b, p->swapped_in, b->swapped_in))
VALUE(v_out, rate(p, b, p->swapped_out, b->swapped_out))
VALUE(v_hit, p->touches > b->touches ? 100 - 100 * MIN((double)(p->tlb_misses - b->tlb_misses) /
						       (double)(p->touches - b->touches), 1) : NAN)

static void memory(struct html *h, const struct sim *s, struct series_data *d)
{
	static const struct line limit[] = { { "charged, page tables included", v_charged, 0 }, { "the limit", v_limit, 0 } };
	static const struct line lists[] = {
		{ "inactive, anonymous", v_list, 0 }, { "active, anonymous", v_list, 1 }, { "inactive, files", v_list, 2 },
		{ "active, files", v_list, 3 }, { "sampled", v_sample, 0 }, { "page tables", v_tables, 0 },
		{ "dirty pages of files", v_dirty, 0 }, { "in swap", v_swap, 0 },
	};

	html_section(h, "Memory");
	if (s->m.limit != UINT64_MAX)
		draw(h, s, d, "What counts in the limit", CHART_BYTES, limit, ARRAY_SIZE(limit));
	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++) {
		const struct line marks[] = { { "free", v_free, node }, { "high", v_mark_high, node },
					      { "low: kswapd wakes up", v_mark_low, node },
					      { "min: who wants memory reclaims", v_mark_min, node } };
		char title[64];

		snprintf(title, sizeof(title), "Free memory of node %u, and its watermarks", node);
		draw(h, s, d, title, CHART_BYTES, marks, ARRAY_SIZE(marks));
	}
	draw(h, s, d, "Lists", CHART_BYTES, lists, ARRAY_SIZE(lists));
}

static void activity(struct html *h, const struct sim *s, struct series_data *d)
{
	static const struct line faults[] = { { "minor", v_fault, SIM_MINOR }, { "major", v_fault, SIM_MAJOR },
					      { "soft", v_fault, SIM_SOFT }, { "copy on write", v_fault, SIM_COW } };
	static const struct line work[] = { { "looked at", v_scan, 0 }, { "to swap", v_out, 0 }, { "from swap", v_in, 0 } };
	static const struct line hits[] = { { "hits", v_hit, 0 } };

	html_section(h, "Faults and reclaim");
	draw(h, s, d, "Faults a second", CHART_COUNT, faults, ARRAY_SIZE(faults));
	draw(h, s, d, "Pages a second: reclaim and swap", CHART_COUNT, work, ARRAY_SIZE(work));
	html_section(h, "Translations");
	draw(h, s, d, "Touches that a TLB had", CHART_PERCENT, hits, ARRAY_SIZE(hits));
}

/* --- tables --- */

static void tlbs(struct html *h, const struct sim *s)
{
	static const char *const heads[] = { "TLB", "entries", "hits", "of all touches" };
	struct html_cells r = { 0 };

	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < s->config.nr_tlbs; i++) {
		uint64_t hits = 0;

		for (unsigned cpu = 0; cpu < s->config.cpus; cpu++)
			hits += mmu_stat(s->cpu[cpu].mmu)->hits[i];
		cell_text(&r, s->config.tlb[i].name);
		cell_count(&r, s->config.tlb[i].entries);
		cell_count(&r, hits);
		cell_percent(&r, hits, s->touches);
		cells_end(&r, h);
	}
	cell_text(&r, "walks of the page tables");
	cell_text(&r, "");
	cell_count(&r, figures_walks(s));
	cell_percent(&r, figures_walks(s), s->touches);
	cells_end(&r, h);
	html_table_end(h);
}

static int by_rss(const void *a, const void *b)
{
	const struct sim_task *x = *(struct sim_task *const *)a, *y = *(struct sim_task *const *)b;

	if (x->rss_max != y->rss_max)
		return x->rss_max > y->rss_max ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static const char *task_name(const struct sim_task *t, char *buf, size_t size)
{
	snprintf(buf, size, "%u %s", t->number, t->name);
	return buf;
}

static void draw_tasks(struct html *h, const struct sim *s, struct sim_task *const *task, unsigned n,
		       struct series_data *d)
{
	struct chart rss = { .title = "Resident memory of processes", .x_unit = CHART_TIME, .y_unit = CHART_BYTES };
	struct chart major = { .title = "Major faults of processes, until then", .x_unit = CHART_TIME };
	struct series_data *m = malloc(sizeof(*m));
	char name[TASKS_DRAWN][SIM_TASK_NAME + 12];

	if (m == NULL)
		return;
	for (unsigned i = 0; i < s->nr_samples; i++)
		d->x[i] = s->sample[i].now_ns;
	for (unsigned k = 0; k < n && rss.nr_series < TASKS_DRAWN; k++) {
		unsigned at = rss.nr_series;

		if (task[k]->sample == NULL)
			continue;
		for (unsigned i = 0; i < s->nr_samples; i++) {
			d->y[at][i] = pages(task[k]->sample[i].rss);
			m->y[at][i] = (double)task[k]->sample[i].major;
		}
		task_name(task[k], name[at], sizeof(name[at]));
		chart_add(&rss, name[at], d->x, d->y[at], s->nr_samples);
		chart_add(&major, name[at], d->x, m->y[at], s->nr_samples);
	}
	if (rss.nr_series > 0) {
		html_chart(h, &rss);
		html_chart(h, &major);
	}
	free(m);
}

static void list_tasks(struct html *h, struct sim_task *const *task, unsigned n)
{
	static const char *const heads[] = { "process", "largest", "touches", "minor", "soft", "copy on write", "major",
					     "invalid", "stalled", "<end" };
	struct html_cells r = { 0 };

	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < MIN(n, TASKS_LISTED); i++) {
		const struct sim_task *t = task[i];
		char name[SIM_TASK_NAME + 12];

		cell_text(&r, task_name(t, name, sizeof(name)));
		cell_bytes(&r, t->rss_max << PAGE_SHIFT);
		cell_count(&r, t->touches);
		cell_count(&r, t->faults[SIM_MINOR]);
		cell_count(&r, t->faults[SIM_SOFT]);
		cell_count(&r, t->faults[SIM_COW]);
		cell_count(&r, t->faults[SIM_MAJOR]);
		cell_count(&r, t->invalid);
		cell_time(&r, (uint64_t)t->stall_ns);
		cell_text(&r, figures_end_name[t->end]);
		cells_end(&r, h);
	}
	html_table_end(h);
	if (n > TASKS_LISTED) {
		char text[80];

		snprintf(text, sizeof(text), "And %u smaller ones; steward sim --json has all.", n - TASKS_LISTED);
		html_text(h, text);
	}
}

/* 0 or -ENOMEM. */
static int processes(struct html *h, const struct sim *s, struct series_data *d)
{
	struct sim_task **task = malloc((s->nr_tasks + 1) * sizeof(struct sim_task *));
	unsigned n = 0;

	if (task == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->nr_tasks; i++)
		if (s->task[i] != NULL)
			task[n++] = s->task[i];
	qsort(task, n, sizeof(struct sim_task *), by_rss);
	html_section(h, "Processes");
	draw_tasks(h, s, task, n, d);
	list_tasks(h, task, n);
	free(task);
	return 0;
}

static void oom(struct html *h, const struct sim *s)
{
	static const char *const heads[] = { "at", "<task", "<why" };

	if (s->nr_oom == 0)
		return;
	html_section(h, "The OOM killer");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (uint32_t i = 0; i < s->nr_oom; i++) {
		struct html_cells r = { 0 };

		cell_time(&r, (uint64_t)s->oom[i].now_ns);
		cell_count(&r, s->oom[i].task);
		cell_text(&r, s->oom[i].text);
		cells_end(&r, h);
	}
	html_table_end(h);
}

static void zones(struct html *h, const struct sim *s)
{
	static const char *const heads[] = { "zone", "node", "memory", "min", "low", "high", "free at the end" };

	html_section(h, "Zones");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++) {
		const struct zone *z = &s->m.phys.zones[i];
		struct html_cells r = { 0 };

		cell_text(&r, z->name);
		cell_count(&r, z->node);
		cell_bytes(&r, (uint64_t)z->managed << PAGE_SHIFT);
		for (unsigned k = 0; k < NR_WMARK; k++)
			cell_bytes(&r, (uint64_t)z->wmark[k] << PAGE_SHIFT);
		cell_bytes(&r, (uint64_t)z->free << PAGE_SHIFT);
		cells_end(&r, h);
	}
	html_table_end(h);
}

static void counters(struct html *h, const struct sim *s)
{
#define COUNTER_NAME(name, text) #name,
#define COUNTER_TEXT(name, text) text,
	static const char *const names[] = { VM_COUNTERS(COUNTER_NAME) };
	static const char *const texts[] = { VM_COUNTERS(COUNTER_TEXT) };
	static const char *const heads[] = { "counter", "value", "<meaning" };

	html_section(h, "Counters");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < VM_COUNTER_NR; i++) {
		struct html_cells r = { 0 };

		if (s->counter[i] == 0)
			continue;
		cell_text(&r, names[i]);
		cell_count(&r, s->counter[i]);
		cell_text(&r, texts[i]);
		cells_end(&r, h);
	}
	html_table_end(h);
}

static const char *headline(const struct sim *s, char *buf, size_t size)
{
	double own = figures_own_time(s), now = sim_now(s);
	struct fmt f;

	fmt_init(&f, buf, size);
	put_some(&f, "", s->touches, " touches took ");
	put_time(&f, "", (uint64_t)now, "");
	if (own > 0) {
		fmt_str(&f, ", ");
		fmt_fixed(&f, (uint64_t)(now / own * 100), 2);
		fmt_str(&f, " times the programs' own time");
	}
	put_some(&f, ": ", figures_all_faults(s), " faults, ");
	put_some(&f, "", figures_faults(s, SIM_MAJOR), " of them major");
	if (s->nr_oom > 0)
		put_some(&f, "; the OOM killer came ", s->nr_oom, s->nr_oom == 1 ? " time" : " times");
	fmt_str(&f, ".");
	return buf;
}

int simhtml_write(const struct sim *s, struct steps *steps, const char *path)
{
	struct series_data *d = malloc(sizeof(*d));
	struct html h;
	char title[SIM_NAME_MAX + 80], text[256];

	snprintf(title, sizeof(title), "steward sim: %s, policy %s%s", s->config.name, s->m.policy->name,
		 s->config.accessed_bits ? "" : ", without accessed bits");
	if (d == NULL || html_begin(&h, title) != 0) {
		free(d);
		return msg_fail(1, path, "no memory for the page; free some");
	}
	html_input(&h, title, headline(s, text, sizeof(text)));
	if (steps->max > 0)
		h.failed |= steps_put(steps, &h) != 0;
	memory(&h, s, d);
	activity(&h, s, d);
	tlbs(&h, s);
	int err = processes(&h, s, d);

	oom(&h, s);
	zones(&h, s);
	counters(&h, s);
	free(d);
	h.failed |= err != 0;
	return html_finish(&h, path);
}

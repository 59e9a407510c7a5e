/*
 * A recording as a page. A line of a chart is a value of one sample, or of two for a rate; lines that are 0 all the time
 * are left out, because a line along the axis only hides others.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/draw/html_cells.h"
#include "cli/msg.h"
#include "cli/report/report.h"
#include "cli/table.h"

#define PROCESSES_DRAWN 6
#define PROCESSES_LISTED 100
#define EVENTS_LISTED 500
#define HIST_JOINED 2 /* buckets of the histogram that make a bar: four to a power of two */

struct drawing {
	struct html *h;
	const struct history *run;
	double y[CHART_SERIES_MAX][HISTORY_POINTS];
};

typedef double value_of(const struct history *run, unsigned i, unsigned which);

struct line {
	const char *name;
	value_of *value;
	unsigned which;
};

static double bytes(uint64_t pages)
{
	return (double)(pages << PAGE_SHIFT);
}

/* --- values --- */

static double v_size(const struct history *run, unsigned i, unsigned offset)
{
	uint64_t pages;

	memcpy(&pages, (const char *)&run->sample[i] + offset, sizeof(pages));
	return bytes(pages);
}

#define SIZE_OF(field) v_size, offsetof(struct sample, field)

static double v_program(const struct history *run, unsigned i, unsigned which)
{
	(void)which;
	return bytes(sample_resident(&run->sample[i].use));
}

static double v_own(const struct history *run, unsigned i, unsigned which)
{
	(void)which;
	return bytes(run->sample[i].use.own + run->sample[i].reserved);
}

static double v_area(const struct history *run, unsigned i, unsigned which)
{
	return bytes(run->sample[i].area[which].used);
}

/* A size that is in bytes. */
static double v_heap(const struct history *run, unsigned i, unsigned offset)
{
	uint64_t size;

	memcpy(&size, (const char *)&run->sample[i].heap + offset, sizeof(size));
	return (double)size;
}

#define HEAP_OF(field) v_heap, offsetof(struct heap_sum, field)

/* In per cent of what is held. */
static double v_heap_share(const struct history *run, unsigned i, unsigned offset)
{
	return run->sample[i].heap.held > 0 ? v_heap(run, i, offset) * 100 / (double)run->sample[i].heap.held : NAN;
}

static double v_not_live(const struct history *run, unsigned i, unsigned which)
{
	(void)which;
	return 100 - v_heap_share(run, i, offsetof(struct heap_sum, live));
}

/* Events a second since the sample before; NAN for the first. */
static double v_rate(const struct history *run, unsigned i, unsigned counter)
{
	const struct sample *now = &run->sample[i];
	double seconds = i > 0 ? (run->ns[i] - run->ns[i - 1]) / 1e9 : 0;

	if (seconds <= 0)
		return NAN;
	return (double)sample_rise(run->sample[i - 1].counter, now->counter, (enum vm_counter)counter) / seconds;
}

/* A counter of ns, in per cent of the time. */
static double v_share(const struct history *run, unsigned i, unsigned counter)
{
	return v_rate(run, i, counter) / 1e7;
}

static double v_ratio(const struct history *run, unsigned i, unsigned which)
{
	const struct ledger_usage *u = &run->sample[i].use;

	(void)which;
	return u->pool_bytes > 0 ? bytes(u->pooled) / (double)u->pool_bytes : NAN;
}

/* Of the faults since the sample before, so many in a thousand took no longer. */
static double v_latency(const struct history *run, unsigned i, unsigned permille)
{
	struct hist h = run->sample[i].fault_ns;

	if (i == 0 || h.count <= run->sample[i - 1].fault_ns.count)
		return NAN;
	h.count -= run->sample[i - 1].fault_ns.count;
	for (unsigned k = 0; k < HIST_BUCKETS; k++)
		h.bucket[k] -= MIN(h.bucket[k], run->sample[i - 1].fault_ns.bucket[k]);
	return (double)hist_quantile(&h, permille);
}

/* --- charts --- */

static bool ever(const double *y, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (y[i] > 0)
			return true;
	return false;
}

/* Where somebody went for want of memory: what came before is why. */
static void mark_ooms(struct chart *c, const struct history *run)
{
	for (unsigned i = 0; i < MIN(run->nr_ooms, CHART_MARKS_MAX); i++)
		chart_mark(c, (double)run->oom[i].ns, "OOM");
}

static void draw_lines(struct drawing *d, struct chart *c, const struct line *line, unsigned nr)
{
	mark_ooms(c, d->run);
	for (unsigned k = 0; k < nr; k++) {
		for (unsigned i = 0; i < d->run->n; i++)
			d->y[k][i] = line[k].value(d->run, i, line[k].which);
		if (ever(d->y[k], d->run->n))
			chart_add(c, line[k].name, d->run->ns, d->y[k], d->run->n);
	}
	if (c->nr_series > 0)
		html_chart(d->h, c);
}

static void draw(struct drawing *d, const char *title, enum chart_unit unit, const struct line *line, unsigned nr)
{
	draw_lines(d, &(struct chart){ .title = title, .x_unit = CHART_TIME, .y_unit = unit }, line, nr);
}

/* A process that ends frees far more at once than lies between the marks: the axis is theirs, unless free memory is up there. */
static void free_memory(struct drawing *d)
{
	static const struct line marks[] = {
		{ "free", SIZE_OF(frames.free) }, { "high", SIZE_OF(frames.high) }, { "low: kswapd wakes up", SIZE_OF(frames.low) },
		{ "min: faults wait", SIZE_OF(frames.min) },
	};
	struct chart c = { .title = "Free memory between its watermarks", .x_unit = CHART_TIME, .y_unit = CHART_BYTES };
	uint64_t most = 0;
	unsigned within = 0;

	for (unsigned i = 0; i < d->run->n; i++)
		most = MAX(most, 2 * d->run->sample[i].frames.high);
	for (unsigned i = 0; i < d->run->n; i++)
		within += d->run->sample[i].frames.free <= most;
	if (within > d->run->n / 2)
		c.y_most = (double)(most << PAGE_SHIFT);
	draw_lines(d, &c, marks, ARRAY_SIZE(marks));
}

static void memory(struct drawing *d)
{
	static const struct line used[] = {
		{ "budget", SIZE_OF(ram) }, { "the program, in memory", v_program, 0 }, { "compressed pool", SIZE_OF(use.pool) },
		{ "Steward", v_own, 0 }, { "out", SIZE_OF(use.swapped) },
	};
	static const struct line lists[] = {
		{ "active", SIZE_OF(frames.active) }, { "inactive", SIZE_OF(frames.inactive) },
		{ "sampled: the next to go", SIZE_OF(frames.sample) },
	};
	static const struct line ratio[] = { { "ratio", v_ratio, 0 } };

	html_section(d->h, "Memory");
	draw(d, "What the run has, and its budget", CHART_BYTES, used, ARRAY_SIZE(used));
	free_memory(d);
	draw(d, "Pages in memory, by how hot they are", CHART_BYTES, lists, ARRAY_SIZE(lists));
	draw(d, "The pool: bytes that one byte holds", CHART_TIMES, ratio, ARRAY_SIZE(ratio));
}

static void heap(struct drawing *d)
{
	static const struct line held[] = {
		{ "held", HEAP_OF(held) }, { "in use", HEAP_OF(live) }, { "free slots of small blocks", HEAP_OF(free_slots) },
		{ "free chunks", HEAP_OF(free_chunks) }, { "kept by threads", HEAP_OF(cached) },
	};
	static const struct line share[] = {
		{ "not in use", v_not_live, 0 }, { "of it: free slots of small blocks", v_heap_share, offsetof(struct heap_sum, free_slots) },
		{ "of it: free chunks", v_heap_share, offsetof(struct heap_sum, free_chunks) },
	};
	uint64_t most = 0;

	for (unsigned i = 0; i < d->run->n; i++)
		most = MAX(most, d->run->sample[i].heap.held);
	if (most == 0)
		return;
	html_section(d->h, "The heap");
	draw(d, "What malloc holds, and what of it is in use", CHART_BYTES, held, ARRAY_SIZE(held));
	draw(d, "malloc fragmentation: of what it holds", CHART_PERCENT, share, ARRAY_SIZE(share));
}

static void activity(struct drawing *d)
{
	static const struct line stall[] = { { "threads wait for pages", v_share, VM_stall_ns }, { "kswapd works", v_share, VM_kswapd_ns } };
	static const struct line faults[] = { { "minor: first touch", v_rate, VM_pgminor }, { "soft: was in memory, unmapped", v_rate, VM_pgsoft },
					      { "major: was out", v_rate, VM_pgmajfault } };
	static const struct line swap[] = { { "in", v_rate, VM_pswpin }, { "out", v_rate, VM_pswpout },
					    { "of those in: read ahead", v_rate, VM_swap_ra } };
	static const struct line refaults[] = { { "came back", v_rate, VM_workingset_refault },
						{ "of them: gone too early", v_rate, VM_workingset_activate } };
	static const struct line scan[] = { { "looked at by kswapd", v_rate, VM_pgscan_kswapd }, { "looked at in a fault", v_rate, VM_pgscan_direct },
					    { "freed by kswapd", v_rate, VM_pgsteal_kswapd }, { "freed in a fault", v_rate, VM_pgsteal_direct } };

	static const struct line woken[] = { { "kswapd was woken", v_rate, VM_kswapd_wake }, { "a fault waited for a frame", v_rate, VM_allocstall } };

	html_section(d->h, "Activity");
	draw(d, "Of the time (several threads add up)", CHART_PERCENT, stall, ARRAY_SIZE(stall));
	draw(d, "Faults a second", CHART_COUNT, faults, ARRAY_SIZE(faults));
	draw(d, "Pages in and out a second", CHART_COUNT, swap, ARRAY_SIZE(swap));
	draw(d, "Refaults a second: evicted pages", CHART_COUNT, refaults, ARRAY_SIZE(refaults));
	draw(d, "Reclaim: pages a second", CHART_COUNT, scan, ARRAY_SIZE(scan));
	draw(d, "Reclaim: times a second", CHART_COUNT, woken, ARRAY_SIZE(woken));
}

static void latency(struct drawing *d)
{
	static const struct line over_time[] = { { "median", v_latency, 500 }, { "99 in 100 at most", v_latency, 990 } };
	const struct hist *hist = &history_last(d->run)->fault_ns;
	double x[HIST_BUCKETS / HIST_JOINED], y[HIST_BUCKETS / HIST_JOINED];
	struct chart c = { .title = "Faults by how long they took", .x_unit = CHART_TIME, .log_x = true, .bars = true };
	char text[160];
	unsigned n = 0;
	struct fmt f;

	if (hist->count == 0)
		return;
	for (unsigned i = HIST_SUB; i < HIST_BUCKETS; i += HIST_JOINED) {
		uint64_t in = 0;

		for (unsigned k = 0; k < HIST_JOINED; k++)
			in += hist->bucket[i + k];
		if (in == 0 && n == 0)
			continue;
		x[n] = (double)hist_floor(i);
		y[n++] = (double)in;
	}
	while (n > 0 && y[n - 1] == 0)
		n--;
	html_section(d->h, "How long a fault took");
	chart_add(&c, "faults", x, y, n);
	html_chart(d->h, &c);
	fmt_init(&f, text, sizeof(text));
	put_time(&f, "Half of them at most ", hist_quantile(hist, 500), ", ");
	put_time(&f, "99 in 100 at most ", hist_quantile(hist, 990), ", ");
	put_time(&f, "the longest ", hist->max, ".");
	html_text(d->h, text);
	draw_lines(d, &(struct chart){ .title = "Over time", .x_unit = CHART_TIME, .y_unit = CHART_TIME, .log_y = true }, over_time,
		   ARRAY_SIZE(over_time));
}

/* --- tables --- */

static void cell_pages(struct html_cells *r, uint64_t pages)
{
	cell_bytes(r, pages << PAGE_SHIFT);
}

static void oom_row(struct html *h, const struct flight_oom_task *t, bool victim)
{
	struct html_cells r = { 0 };
	char name[32], adj[24], points[24];

	snprintf(name, sizeof(name), "%d %s", t->pid, t->name);
	cell_text(&r, name);
	cell_pages(&r, t->resident);
	cell_pages(&r, t->swapped);
	cell_pages(&r, DIV_ROUND_UP(t->tables_bytes, PAGE_SIZE));
	snprintf(adj, sizeof(adj), "%lld", (long long)t->adj);
	cell_text(&r, adj);
	snprintf(points, sizeof(points), "%lld", (long long)t->points);
	cell_text(&r, t->never ? "never" : points);
	cell_text(&r, victim ? "◄ it went" : "");
	cells_end(&r, h);
}

static void places(struct drawing *d)
{
	static const char *const heads[] = { "place", "most in it", "at the end", "errors", "<state" };
	const struct sample *last = history_last(d->run);
	struct line line[SWAP_SPECS];

	if (last->nr_areas == 0)
		return;
	html_section(d->h, "Where pages go");
	for (unsigned i = 0; i < last->nr_areas; i++)
		line[i] = (struct line){ last->area[i].name, v_area, i };
	draw(d, "Pages that are out", CHART_BYTES, line, MIN(last->nr_areas, CHART_SERIES_MAX));
	html_table(d->h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < last->nr_areas; i++) {
		const struct sample_area *a = &last->area[i];
		struct html_cells r = { 0 };

		cell_text(&r, a->name);
		cell_pages(&r, d->run->area_max[i]);
		cell_pages(&r, a->used);
		cell_count(&r, a->errors);
		cell_text(&r, swap_state_name(a->state));
		cells_end(&r, d->h);
	}
	html_table_end(d->h);
}

static double resident_of(const struct sample *s, const struct sample_process *p)
{
	for (unsigned i = 0; i < s->nr; i++)
		if (s->process[i].pid == p->pid && s->process[i].start == p->start)
			return bytes(sample_resident(&s->process[i].use));
	return NAN;
}

static void draw_processes(struct drawing *d)
{
	struct chart c = { .title = "In memory", .x_unit = CHART_TIME, .y_unit = CHART_BYTES };
	char name[PROCESSES_DRAWN][32];

	for (unsigned k = 0; k < MIN(d->run->nr_processes, PROCESSES_DRAWN); k++) {
		const struct sample_process *p = &d->run->process[k].last;

		for (unsigned i = 0; i < d->run->n; i++)
			d->y[k][i] = resident_of(&d->run->sample[i], p);
		snprintf(name[k], sizeof(name[k]), "%d %s", p->pid, p->comm);
		chart_add(&c, name[k], d->run->ns, d->y[k], d->run->n);
	}
	html_chart(d->h, &c);
}

static void processes(struct drawing *d)
{
	static const char *const heads[] = { "process", "most in memory", "most out", "minor", "soft", "major", "stalled",
					     "malloc held", "of it in use", "seen for", "<last state" };
	const struct history *run = d->run;

	if (run->nr_processes == 0)
		return;
	html_section(d->h, "Processes");
	draw_processes(d);
	html_table(d->h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < MIN(run->nr_processes, PROCESSES_LISTED); i++) {
		const struct history_process *p = &run->process[i];
		struct html_cells r = { 0 };
		char name[32];

		snprintf(name, sizeof(name), "%d %s", p->last.pid, p->last.comm);
		cell_text(&r, name);
		cell_pages(&r, p->resident_max);
		cell_pages(&r, p->swapped_max);
		cell_count(&r, p->last.counter[VM_pgminor]);
		cell_count(&r, p->last.counter[VM_pgsoft]);
		cell_count(&r, p->last.counter[VM_pgmajfault]);
		cell_time(&r, p->last.counter[VM_stall_ns]);
		cell_bytes(&r, p->last.heap.held);
		cell_bytes(&r, p->last.heap.live);
		cell_time(&r, p->last_ns - p->first_ns);
		cell_text(&r, sample_state(p->last.state));
		cells_end(&r, d->h);
	}
	html_table_end(d->h);
	if (run->nr_processes > PROCESSES_LISTED) {
		char text[80];

		snprintf(text, sizeof(text), "And %u smaller ones.", run->nr_processes - PROCESSES_LISTED);
		html_text(d->h, text);
	}
}

static void oom(struct drawing *d)
{
	static const char *const heads[] = { "process", "resident", "out", "page tables", "adj", "points", "<" };

	if (d->run->nr_ooms > 0)
		html_section(d->h, "The OOM killer");
	for (unsigned i = 0; i < d->run->nr_ooms; i++) {
		const struct flight_oom *o = &d->run->oom[i].oom;
		char text[160];
		struct fmt f;

		fmt_init(&f, text, sizeof(text));
		put_time(&f, "At ", d->run->oom[i].ns, ": ");
		fmt_str(&f, o->what);
		fmt_str(&f, o->victim < o->nr ? "." : "; nobody may be killed.");
		html_text(d->h, text);
		html_table(d->h, heads, ARRAY_SIZE(heads));
		for (unsigned k = 0; k < o->nr; k++)
			oom_row(d->h, &o->task[k], k == o->victim);
		html_table_end(d->h);
	}
}

static void counters(struct drawing *d)
{
#define COUNTER_NAME(name, text) #name,
#define COUNTER_TEXT(name, text) text,
	static const char *const names[] = { VM_COUNTERS(COUNTER_NAME) };
	static const char *const texts[] = { VM_COUNTERS(COUNTER_TEXT) };
	static const char *const heads[] = { "counter", "value", "<meaning" };
	const struct sample *last = history_last(d->run);

	html_section(d->h, "Counters");
	html_table(d->h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < VM_COUNTER_NR; i++) {
		struct html_cells r = { 0 };

		if (last->counter[i] == 0)
			continue;
		cell_text(&r, names[i]);
		cell_count(&r, last->counter[i]);
		cell_text(&r, texts[i]);
		cells_end(&r, d->h);
	}
	html_table_end(d->h);
}

/* The last ones, if there are many; each leads to its moment. */
static void events(struct drawing *d)
{
	const struct history *run = d->run;
	unsigned first = run->nr_events > EVENTS_LISTED ? run->nr_events - EVENTS_LISTED : 0;

	if (run->nr_events == 0)
		return;
	html_section(d->h, "Events");
	html_events(d->h);
	for (unsigned i = first; i < run->nr_events; i++)
		html_event(d->h, (double)run->event[i].ns, run->event[i].event.bad, run->event[i].event.text);
	html_events_end(d->h);
}

static int put(struct html *h, const void *input, const char *path)
{
	struct drawing *d = malloc(sizeof(*d));
	const struct history *run = input;
	char title[sizeof(run->file.run.command) + 256], text[512];
	int err;

	if (d == NULL)
		return -ENOMEM;
	d->h = h;
	d->run = run;
	snprintf(title, sizeof(title), "steward run: %s (%s)", run->file.run.command, path);
	html_input(h, title, report_headline(run, text, sizeof(text)));
	memory(d);
	heap(d);
	activity(d);
	latency(d);
	places(d);
	processes(d);
	events(d);
	oom(d);
	err = report_maps(h, run);
	counters(d);
	free(d);
	return err;
}

/* Damage is told, and the rest is shown. */
static void *read_recording(const char *path, int *status)
{
	struct history *h = malloc(sizeof(*h));

	if (h == NULL) {
		*status = msg_fail(1, path, "%s; try again with more memory", strerror(ENOMEM));
		return NULL;
	}
	*status = history_read(h, path);
	if (*status != 0) {
		free(h);
		return NULL;
	}
	if (h->file.damage_at != 0)
		msg_note("%s: byte %llu: cut or damaged; what can be read is shown", path, (unsigned long long)h->file.damage_at);
	return h;
}

static void free_recording(void *input)
{
	history_free(input);
	free(input);
}

const struct report_kind report_recording = { "STWRUN\r\n", read_recording, put, history_figures, free_recording };

/*
 *   title
 *   budget     how it is used
 *   free       between the watermarks
 *   lists      active, inactive, sample
 *   out        where pages are that are out: each area, its state, the pool's ratio
 *   rates      faults and pages a second, stall
 *   fault      how long faults took: a histogram of the interval
 *   heap       what the processes' malloc holds, and what of it is in use
 *   processes  as many as fit; or the heap of one (heapview.c)
 *
 *   events     EVENT_ROWS
 *   keys
 */
#include "cli/see/screen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/see/show.h"

#define BAR_COLS 20 /* what stands beside it fits into SCREEN_COLS, with figures of four digits */
#define EVENT_ROWS 4
#define LABEL_COLS 7
#define HEAP_ROW 7
#define TABLE_ROW SCREEN_HEAD_ROWS
#define HIST_FIRST 9 /* powers of two shown: 512 ns … */
#define HIST_COLS 20 /* … to 2^28 ns, a quarter of a second, and beyond */

static void draw_title(struct canvas *c, const struct screen *s)
{
	uint64_t age = s->now->age_ns / 1000000000;

	canvas_move(c, 0, 0, STYLE_TITLE);
	canvas_printf(c, "steward run %d: %s", s->now->launcher, s->now->command);
	canvas_printf(c, ", %u process%s", s->now->nr, s->now->nr == 1 ? "" : "es");
	canvas_printf(c, ", %" PRIu64 ":%02" PRIu64 ":%02" PRIu64, age / 3600, age / 60 % 60, age % 60);
	if (!s->now->watched)
		canvas_put(c, ", its launcher has ended");
	if (s->paused)
		canvas_put(c, "  PAUSED");
	canvas_fill(c);
}

static void draw_budget(struct canvas *c, const struct sample *s)
{
	const struct bar_part parts[] = {
		{ sample_resident(&s->use), STYLE_GOOD, '#' },
		{ s->use.pool, STYLE_WARN, 'p' },
		{ s->use.own + s->reserved, STYLE_KEY, 's' },
	};

	canvas_label(c, 1, LABEL_COLS, "budget");
	canvas_bar(c, BAR_COLS, s->ram, parts, ARRAY_SIZE(parts));
	canvas_figure(c, STYLE_PLAIN, "of", show_pages(s->ram));
	canvas_figure(c, STYLE_GOOD, "resident", show_pages(parts[0].part));
	canvas_figure(c, STYLE_WARN, "pool", show_pages(parts[1].part));
	canvas_figure(c, STYLE_KEY, "Steward", show_pages(parts[2].part));
}

static void draw_share(struct canvas *c, const struct screen *s, const char *name, enum vm_counter counter)
{
	uint64_t ns = sample_rise(s->before->counter, s->now->counter, counter);
	char text[24];

	snprintf(text, sizeof(text), "%s%%", show_share(ns, s->ns));
	canvas_figure(c, ns > s->ns / 2 ? STYLE_BAD : ns > s->ns / 10 ? STYLE_WARN : STYLE_PLAIN, name, text);
}

/* Free frames on a bar that ends a little above high: which of the marks have they passed? */
static void draw_free(struct canvas *c, const struct screen *s)
{
	const struct ledger_frames *f = &s->now->frames;
	enum style style = f->free < f->min ? STYLE_BAD : f->free < f->low ? STYLE_WARN : STYLE_GOOD;
	const struct bar_part part = { f->free, style, '#' };

	canvas_label(c, 2, LABEL_COLS, "free");
	if (f->online == 0) {
		canvas_put(c, "everything fits: memory is the kernel's, and nothing is done");
		return;
	}
	canvas_bar(c, BAR_COLS, f->high + f->high / 4, &part, 1);
	canvas_put(c, " ");
	c->style = style;
	canvas_put(c, show_pages(f->free));
	canvas_figure(c, STYLE_PLAIN, "min", show_pages(f->min));
	canvas_figure(c, STYLE_PLAIN, "low", show_pages(f->low));
	canvas_figure(c, STYLE_PLAIN, "high", show_pages(f->high));
	draw_share(c, s, "kswapd", VM_kswapd_ns);
}

static void draw_lists(struct canvas *c, const struct ledger_frames *f)
{
	const struct bar_part parts[] = {
		{ f->active, STYLE_GOOD, 'a' },
		{ f->inactive, STYLE_KEY, 'i' },
		{ f->sample, STYLE_WARN, 's' },
	};

	if (f->online == 0)
		return;
	canvas_label(c, 3, LABEL_COLS, "lists");
	canvas_bar(c, BAR_COLS, f->active + f->inactive + f->sample, parts, ARRAY_SIZE(parts));
	canvas_figure(c, STYLE_GOOD, "active", show_pages(f->active));
	canvas_figure(c, STYLE_KEY, "inactive", show_pages(f->inactive));
	canvas_figure(c, STYLE_WARN, "sample", show_pages(f->sample));
}

/* Of a pool: what its pages take, and stored by compressed. */
static void draw_pool(struct canvas *c, const struct ledger_usage *u)
{
	uint64_t tenths = u->pool_bytes > 0 ? ((u->pooled << PAGE_SHIFT) * 10 + u->pool_bytes / 2) / u->pool_bytes : 0;

	canvas_printf(c, " in %s", show_pages(u->pool));
	if (tenths > 0)
		canvas_printf(c, ", ratio %s", show_tenths(tenths));
}

static void draw_area(struct canvas *c, const struct sample_area *a, const struct ledger_usage *u)
{
	canvas_figure(c, STYLE_KEY, a->name, show_pages(a->used));
	if (a->pool)
		draw_pool(c, u);
	c->style = a->state > SWAP_FULL ? STYLE_BAD : STYLE_WARN;
	if (a->state != SWAP_OK)
		canvas_printf(c, " %s", swap_state_name(a->state));
	if (a->errors > 0)
		canvas_printf(c, " %" PRIu64 " errors", a->errors);
	c->style = STYLE_PLAIN;
}

static void draw_areas(struct canvas *c, const struct sample *s)
{
	canvas_label(c, 4, LABEL_COLS, "out");
	canvas_put(c, show_pages(s->use.swapped));
	for (unsigned i = 0; i < s->nr_areas; i++) {
		canvas_put(c, i == 0 ? ":" : ",");
		draw_area(c, &s->area[i], &s->use);
	}
}

static void draw_rate(struct canvas *c, const struct screen *s, const char *name, enum vm_counter counter, enum style style)
{
	uint64_t n = sample_rate(sample_rise(s->before->counter, s->now->counter, counter), s->ns);

	canvas_figure(c, n > 0 ? style : STYLE_PLAIN, name, show_count(n));
}

static void draw_rates(struct canvas *c, const struct screen *s)
{
	canvas_label(c, 5, LABEL_COLS, "a sec.");
	draw_rate(c, s, "minor", VM_pgminor, STYLE_GOOD);
	draw_rate(c, s, "soft", VM_pgsoft, STYLE_GOOD);
	draw_rate(c, s, "major", VM_pgmajfault, STYLE_WARN);
	draw_rate(c, s, "in", VM_pswpin, STYLE_WARN);
	draw_rate(c, s, "out", VM_pswpout, STYLE_KEY);
	draw_share(c, s, "stall", VM_stall_ns);
}

/* Faults of the interval by powers of two; what is beyond either end counts there. */
static void count_faults(const struct screen *s, uint64_t count[HIST_COLS])
{
	memset(count, 0, HIST_COLS * sizeof(*count));
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t now = s->now->fault_ns.bucket[i], was = s->before->fault_ns.bucket[i], floor = hist_floor(i);
		int power = floor > 0 ? 63 - __builtin_clzll(floor) : 0;

		count[MIN(MAX(power - HIST_FIRST, 0), HIST_COLS - 1)] += now > was ? now - was : 0;
	}
}

static void draw_latency(struct canvas *c, const struct screen *s)
{
	uint64_t count[HIST_COLS], most = 0;

	count_faults(s, count);
	for (unsigned i = 0; i < HIST_COLS; i++)
		most = MAX(most, count[i]);
	canvas_label(c, 6, LABEL_COLS, "fault");
	canvas_put(c, "<1us ");
	c->style = STYLE_WARN;
	/* What there is at all is to be seen. */
	for (unsigned i = 0; i < HIST_COLS; i++)
		canvas_level(c, count[i] > 0 ? (unsigned)MAX(count[i] * 8 / most, 1u) : 0);
	c->style = STYLE_PLAIN;
	canvas_put(c, " >268ms");
	if (s->now->fault_ns.count > 0)
		canvas_printf(c, "  since start: p50 %s p99 %s", show_time(hist_quantile(&s->now->fault_ns, 500)),
			      show_time(hist_quantile(&s->now->fault_ns, 990)));
}

static void draw_row(struct canvas *c, unsigned at, const struct row *r)
{
	const struct sample_process *p = r->p;
	uint64_t stall = r->rise[VM_stall_ns];

	canvas_move(c, at, 0, STYLE_PLAIN);
	canvas_printf(c, "%7d %-7s %6s %5s %5s %5s", p->pid, sample_state(p->state), show_pages(p->granted),
		      show_pages(sample_resident(&p->use)), show_pages(p->use.pool), show_pages(p->use.swapped));
	canvas_printf(c, " %5s %5s %5s", show_count(sample_rate(r->rise[VM_pgminor], r->ns)),
		      show_count(sample_rate(r->rise[VM_pgsoft], r->ns)), show_count(sample_rate(r->rise[VM_pgmajfault], r->ns)));
	c->style = stall > r->ns / 2 ? STYLE_BAD : stall > r->ns / 10 ? STYLE_WARN : STYLE_PLAIN;
	canvas_printf(c, " %5s%%", show_share(stall, r->ns));
	c->style = STYLE_PLAIN;
	canvas_printf(c, " %*s%s", (int)MIN(2 * r->depth, 16u), "", p->comm);
}

static void draw_table(struct canvas *c, const struct screen *s, unsigned fit)
{
	canvas_move(c, TABLE_ROW - 1, 0, STYLE_TITLE);
	canvas_printf(c, "%7s %-7s %6s %5s %5s %5s %5s %5s %5s %6s %s", "PID", "STATE", "BUDGET", "RES", "POOL", "SWAP", "MINOR",
		      "SOFT", "MAJOR", "STALL", "COMMAND");
	canvas_fill(c);
	for (unsigned i = 0; i < fit && s->first + i < s->rows->nr; i++)
		draw_row(c, TABLE_ROW + i, &s->rows->row[s->first + i]);
	if (s->rows->nr == 0) {
		canvas_move(c, TABLE_ROW, 0, STYLE_DIM);
		canvas_put(c, s->how->filter[0] != '\0' ? "no process has the filter in its name or pid" : "no process is left");
	}
}

static void draw_help(struct canvas *c)
{
	static const char *const lines[] = {
		"q       ends top; the run goes on",
		"space   pauses the screen, not the run",
		"+ -     a longer or shorter interval",
		"s r     sorts by the next column; turns the order round",
		"t       children below their parents",
		"/       only processes with this in their name or pid; Enter ends, Esc clears",
		"m       the heap of a process: the first one here, others by up and down",
		"b       another budget for the run, after a question",
		"up down PageUp PageDown Home End   go through the processes",
		"h ?     this; any key ends it",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		canvas_move(c, TABLE_ROW + i, 2, STYLE_PLAIN);
		canvas_put(c, lines[i]);
	}
}

/* The newest below. */
static void draw_events(struct canvas *c, const struct screen *s)
{
	for (unsigned i = 0; i < EVENT_ROWS; i++) {
		const struct event *e = events_last(s->events, i);
		char when[16];
		struct tm tm;

		if (e == NULL)
			return;
		strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&e->when, &tm));
		canvas_move(c, c->rows - 2 - i, 0, STYLE_DIM);
		canvas_put(c, when);
		c->style = e->bad ? STYLE_BAD : STYLE_PLAIN;
		canvas_printf(c, " %s", e->text);
		if (e->times > 1)
			canvas_printf(c, ", %" PRIu64 " times", e->times);
		if (e->until > e->when)
			canvas_printf(c, " in %lld s", (long long)(e->until - e->when));
	}
}

static void draw_keys(struct canvas *c, const struct screen *s)
{
	canvas_move(c, c->rows - 1, 0, STYLE_TITLE);
	if (s->prompt != NULL) {
		canvas_put(c, s->prompt);
	} else {
		canvas_printf(c, "q quit  space pause  s sort: %s%s  t %s  ", rows_sort_name(s->how->sort), s->how->reverse ? " (r)" : "",
			      s->how->tree ? "list" : "tree");
		canvas_printf(c, "/ filter%s%s  +- %s s  h help", s->how->filter[0] != '\0' ? ": " : "", s->how->filter,
			      show_tenths(s->interval_ns / 100000000));
	}
	canvas_fill(c);
}

unsigned screen_draw(struct canvas *c, const struct screen *s)
{
	unsigned others = TABLE_ROW + (s->still ? 0 : EVENT_ROWS + 1), fit = c->rows > others ? c->rows - others : 0;

	draw_title(c, s);
	draw_budget(c, s->now);
	draw_free(c, s);
	draw_lists(c, &s->now->frames);
	draw_areas(c, s->now);
	draw_rates(c, s);
	draw_latency(c, s);
	if (s->now->heap.held > 0)
		heapview_line(c, HEAP_ROW, &s->now->heap);
	if (s->help)
		draw_help(c);
	else if (s->heap != NULL)
		heapview_draw(s->heap, c, TABLE_ROW, TABLE_ROW + fit);
	else
		draw_table(c, s, fit);
	if (!s->still) {
		draw_events(c, s);
		draw_keys(c, s);
	}
	return fit;
}

/* What a plan has to say, in a terminal of 80 columns and for programs. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/plan/plan.h"
#include "cli/draw/plot.h"
#include "cli/table.h"

#define SCHEMA 1
#define ROWS 18 /* of the table, about */
#define TERMINAL 80

static const char *const end_names[] = { "done", "late", "killed", "no start" };

/* --- the headline --- */

const char *plan_size(uint64_t bytes, char *buf)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned u = 0;
	double v = (double)bytes;

	for (; u + 1 < ARRAY_SIZE(units) && v >= 1024; u++)
		v /= 1024;
	/* Up: what is told must be enough. No zeros behind the point. */
	double scale = v < 10 ? 100 : v < 100 ? 10 : 1;

	snprintf(buf, PLAN_SIZE_TEXT, "%.15g %s", ceil(v * scale) / scale, units[u]);
	return buf;
}

static void put_size(struct fmt *f, const char *before, uint64_t bytes, const char *after)
{
	char text[PLAN_SIZE_TEXT];

	fmt_str(f, before);
	fmt_str(f, plan_size(bytes, text));
	fmt_str(f, after);
}

double plan_major(const struct plan *p, const struct plan_point *r)
{
	if (r->end == PLAN_DONE)
		return (double)r->major;
	return r->end == PLAN_LATE_END && r->touches > 0 ?
		(double)r->major / (double)r->touches * (double)p->enough.touches : NAN;
}

static void put_times(struct fmt *f, const char *before, double times, const char *after)
{
	fmt_str(f, before);
	fmt_fixed(f, (uint64_t)(times * 10 + 0.5), 1);
	fmt_str(f, after);
}

static void put_slowdown(struct fmt *f, uint64_t permille)
{
	fmt_fixed(f, permille % 10 == 0 ? permille / 10 : permille, permille % 10 == 0 ? 0 : 1);
	fmt_str(f, " %");
}

/* How the largest size below that ends. */
static enum plan_end ends_below(const struct plan *p, uint64_t bytes)
{
	enum plan_end end = PLAN_DONE;

	for (unsigned i = 0; i < p->nr_points && p->point[i].bytes < bytes; i++)
		end = p->point[i].end;
	return end;
}

/* What less than that does. */
static void put_below(struct fmt *f, const struct plan *p)
{
	const struct plan_answer *a = &p->answer;
	uint64_t lowest = p->point[0].bytes;

	const char *dead = ends_below(p, a->works) == PLAN_KILLED ? " it is killed" : " it does not run";

	if (a->works > lowest && a->works >= a->keeps) {
		fmt_str(f, "; with less");
		fmt_str(f, dead);
		return;
	}
	if (a->quick > lowest) {
		if (a->quick >= a->keeps)
			fmt_str(f, "; with less it thrashes");
		else
			put_size(f, "; below ", a->quick, " it thrashes");
		if (a->works > lowest && a->works < a->quick)
			put_size(f, ", below ", a->works, dead);
	} else if (a->works > lowest) {
		put_size(f, "; below ", a->works, dead);
	} else if (a->keeps > lowest) {
		put_size(f, "; ", lowest, " still do");
		put_times(f, " in ", plan_times(p, &p->point[0]), " times the time");
	}
}

const char *plan_headline(const struct plan *p, char *buf, size_t size)
{
	struct fmt f;

	fmt_init(&f, buf, size);
	if (p->answer.keeps == 0) {
		fmt_str(&f, "No size that was tried keeps it within ");
		put_slowdown(&f, p->request->slowdown_permille);
		put_size(&f, " (footprint ", p->enough.used_max_bytes, ")");
	} else {
		put_size(&f, "", p->answer.keeps, p->limit ? " as the limit keep it within " : " of memory keep it within ");
		put_slowdown(&f, p->request->slowdown_permille);
		put_size(&f, " (footprint ", p->enough.used_max_bytes, ")");
		put_below(&f, p);
	}
	fmt_str(&f, ".");
	return buf;
}

/* --- for people --- */

void plan_curves(const struct plan *p, struct plan_curves *d, struct chart *time, struct chart *faults, char *mark)
{
	struct fmt f;

	for (unsigned i = 0; i < p->nr_points; i++) {
		const struct plan_point *r = &p->point[i];

		d->size[i] = (double)r->bytes;
		d->times[i] = r->end == PLAN_DONE || r->end == PLAN_LATE_END ? MIN(plan_times(p, r), PLAN_LATE) : NAN;
		d->major[i] = plan_major(p, r);
		d->lru[i] = (double)r->lru_misses;
	}
	*time = (struct chart){ .title = "Time, as a multiple of that with enough memory", .x_unit = CHART_BYTES,
				.y_unit = CHART_TIMES, .log_y = true };
	*faults = (struct chart){ .title = "Major faults", .x_unit = CHART_BYTES };
	chart_add(time, "time", d->size, d->times, p->nr_points);
	chart_add(faults, "simulated", d->size, d->major, p->nr_points);
	if (p->answer.keeps == 0)
		return;
	fmt_init(&f, mark, PLAN_MARK_TEXT);
	put_size(&f, "", p->answer.keeps, ": within ");
	put_slowdown(&f, p->request->slowdown_permille);
	chart_mark(time, (double)p->answer.keeps, mark);
	chart_mark(faults, (double)p->answer.keeps, mark);
}

static void plots(const struct plan *p)
{
	static struct plan_curves curves;
	struct chart time, faults;
	char mark[PLAN_MARK_TEXT];

	plan_curves(p, &curves, &time, &faults, mark);
	plot_print(&time);
	printf("\n");
	plot_print(&faults);
}

static void cell(const char *text, int width)
{
	printf(" %*s", width, text);
}

static void cell_count(uint64_t n, int width)
{
	char text[32];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	put_count(&f, n);
	cell(text, width);
}

static void print_point(const struct plan *p, const struct plan_point *r)
{
	char text[48];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	put_size(&f, "", r->bytes, "");
	cell(text, 11);
	if (r->end == PLAN_NO_START) {
		printf("   nothing runs\n");
		return;
	}
	fmt_init(&f, text, sizeof(text));
	put_time(&f, r->end == PLAN_LATE_END ? "> " : "", (uint64_t)r->time_ns, "");
	cell(text, 11);
	fmt_init(&f, text, sizeof(text));
	if (r->end == PLAN_DONE) {
		fmt_fixed(&f, (uint64_t)(plan_times(p, r) * 100 + 0.5), 2);
	} else {
		fmt_str(&f, r->end == PLAN_KILLED ? "killed" : "> ");
		if (r->end == PLAN_LATE_END)
			fmt_u64(&f, PLAN_LATE);
	}
	cell(text, 8);
	cell_count(r->major, 13);
	cell_count(r->lru_misses, 13);
	cell_count(r->swapped_out, 13);
	printf("%s\n", r->bytes == p->answer.keeps ? " ◄" : "");
}

/* All near the answers, of the others every so many. */
static void print_points(const struct plan *p)
{
	unsigned step = DIV_ROUND_UP(p->nr_points, ROWS);

	printf("\n %11s %11s %8s %13s %13s %13s\n", p->limit ? "limit" : "memory", "time", "times", "major faults", "LRU misses",
	       "pages out");
	for (unsigned i = 0; i < p->nr_points; i++) {
		const struct plan_point *r = &p->point[i];
		uint64_t next = i + 1 < p->nr_points ? r[1].bytes : 0;

		if (i % step == 0 || i + 1 == p->nr_points || r->bytes == p->answer.keeps || r->bytes == p->answer.quick ||
		    r->bytes == p->answer.works || (next != 0 && next == p->answer.keeps))
			print_point(p, r);
	}
}

/* Bars a line for each length; those of longer windows take as many cells as the windows they last for. */
static void print_windows(const struct plan *p)
{
	double cell_of[PLOT_CELLS], most = 0;
	char text[32];

	for (unsigned i = 0; i < p->windows[PLAN_LENGTHS - 1].n; i++)
		most = MAX(most, (double)(p->windows[PLAN_LENGTHS - 1].pages[i] * (uint64_t)PAGE_SIZE));
	printf("\n  Working set over %s: pages touched in windows, and the largest of a line\n",
	       p->timed ? "time" : "touches");
	for (unsigned k = PLAN_LENGTHS; k-- > 0;) {
		const struct plan_windows *w = &p->windows[k];

		for (unsigned i = 0; i < p->windows[0].n; i++)
			cell_of[i] = (double)(w->pages[i >> (2 * k)] * (uint64_t)PAGE_SIZE);
		chart_text(p->timed ? CHART_TIME : CHART_COUNT, (double)w->length, text, sizeof(text));
		plot_bars(text, cell_of, p->windows[0].n, most, CHART_BYTES);
	}
}

/* In lines of 80 columns; it has no character of more than one byte. */
static void print_sentence(const char *text)
{
	while (strlen(text) > TERMINAL) {
		int n = TERMINAL;

		while (n > 0 && text[n] != ' ')
			n--;
		printf("%.*s\n", n, text);
		text += n + 1;
	}
	printf("%s\n\n", text);
}

int plan_print(const struct plan *p)
{
	char text[256];
	struct fmt f;

	print_sentence(plan_headline(p, text, sizeof(text)));
	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, p->request->machine.name);
	fmt_str(&f, ", policy ");
	fmt_str(&f, p->request->machine.policy);
	put_time(&f, "; ", (uint64_t)p->enough.time_ns, " with enough memory");
	if (p->sampled)
		fmt_str(&f, "; the trace has samples of the touches only");
	printf("  %s\n\n", text);
	plots(p);
	print_windows(p);
	print_points(p);
	if (fflush(stdout) != 0 || ferror(stdout))
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return 0;
}

/* --- for programs --- */

static uint64_t whole(double ns)
{
	return (uint64_t)(ns + 0.5);
}

static void json_answer(struct json *j, const char *key, uint64_t bytes)
{
	if (bytes != 0)
		json_u64(j, key, bytes);
	else
		json_null(j, key);
}

static void json_points(struct json *j, const struct plan *p)
{
	json_array(j, "points");
	for (unsigned i = 0; i < p->nr_points; i++) {
		const struct plan_point *r = &p->point[i];

		json_object(j, NULL);
		json_u64(j, "bytes", r->bytes);
		json_string(j, "end", end_names[r->end]);
		json_u64(j, "time_ns", whole(r->time_ns));
		json_u64(j, "touches", r->touches);
		json_u64(j, "minor", r->minor);
		json_u64(j, "major", r->major);
		json_u64(j, "swapped_in", r->swapped_in);
		json_u64(j, "swapped_out", r->swapped_out);
		json_u64(j, "scanned", r->scanned);
		json_u64(j, "used_max_bytes", r->used_max_bytes);
		json_u64(j, "lru_misses", r->lru_misses);
		json_object_end(j);
	}
	json_array_end(j);
}

static void json_windows(struct json *j, const struct plan *p)
{
	json_u64(j, "touched_pages", locality_pages(p->locality));
	json_string(j, "clock", p->timed ? "ns" : "touches");
	json_array(j, "working_set");
	for (unsigned k = 0; k < PLAN_LENGTHS; k++) {
		json_object(j, NULL);
		json_u64(j, "window", p->windows[k].length);
		json_array(j, "pages");
		for (unsigned i = 0; i < p->windows[k].n; i++)
			json_u64(j, NULL, p->windows[k].pages[i]);
		json_array_end(j);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_plan(struct json *j, const void *what)
{
	const struct plan *p = what;
	char text[256];

	json_object(j, NULL);
	json_u64(j, "schema", SCHEMA);
	json_string(j, "headline", plan_headline(p, text, sizeof(text)));
	json_string(j, "machine", p->request->machine.name);
	json_string(j, "policy", p->request->machine.policy);
	json_bool(j, "sampled", p->sampled);
	json_string(j, "varied", p->limit ? "limit" : "memory");
	json_u64(j, "grain_bytes", p->grain);
	json_fixed(j, "slowdown_percent", p->request->slowdown_permille, 1);
	json_answer(j, "keeps_bytes", p->answer.keeps);
	json_answer(j, "quick_bytes", p->answer.quick);
	json_answer(j, "works_bytes", p->answer.works);
	json_u64(j, "footprint_bytes", p->enough.used_max_bytes);
	json_u64(j, "enough_ns", whole(p->enough.time_ns));
	json_points(j, p);
	json_windows(j, p);
	json_object_end(j);
}

int plan_write(const struct plan *p, int fd)
{
	static struct json j;

	json_init(&j, fd);
	put_plan(&j, p);
	return json_finish(&j);
}

int plan_json(const struct plan *p, const char *path)
{
	return outfile_json(path, put_plan, p);
}

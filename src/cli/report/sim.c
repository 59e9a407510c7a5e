/*
 * The JSON of steward sim: its timeline as charts, its counters as a table. steward sim --report has more, because the
 * machine is still there.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/draw/html_cells.h"
#include "cli/figures/figures.h"
#include "cli/msg.h"
#include "cli/report/report.h"
#include "cli/table.h"
#include "sim/engine.h"

enum column {
	NS, MINOR, SOFT, COW, MAJOR, SCANNED, IN, OUT, FREE, CHARGED, INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE, SAMPLE,
	TABLES, SWAP, COLUMNS
};

/* Of a timeline's samples; the free memory is that of node 0. */
static const char *const names[COLUMNS] = {
	[NS] = "ns", [MINOR] = "faults.minor", [SOFT] = "faults.soft", [COW] = "faults.cow", [MAJOR] = "faults.major",
	[SCANNED] = "scanned", [IN] = "swapped_in", [OUT] = "swapped_out", [FREE] = "free_pages[0]", [CHARGED] = "charged_pages",
	[INACTIVE_ANON] = "inactive_anon_pages", [ACTIVE_ANON] = "active_anon_pages", [INACTIVE_FILE] = "inactive_file_pages",
	[ACTIVE_FILE] = "active_file_pages", [SAMPLE] = "sample_pages", [TABLES] = "table_pages", [SWAP] = "swap_pages",
};

struct input {
	struct figures figures;      /* with what is in arrays */
	const char *path;
	unsigned n;                  /* samples */
	double column[COLUMNS][SIM_SAMPLES];
	double drawn[CHART_SERIES_MAX][SIM_SAMPLES];
};

static void take(struct input *in, const struct figure *f)
{
	unsigned i, end = 0;

	if (sscanf(f->name, "timeline[%u].%n", &i, &end) != 1 || end == 0 || i >= SIM_SAMPLES)
		return;
	for (unsigned c = 0; c < COLUMNS; c++)
		if (strcmp(f->name + end, names[c]) == 0)
			in->column[c][i] = f->value;
	in->n = MAX(in->n, i + 1);
}

static void free_sim(void *input)
{
	figures_free(&((struct input *)input)->figures);
	free(input);
}

static void *read_sim(const char *path, int *status)
{
	struct input *in = calloc(1, sizeof(*in));

	if (in == NULL) {
		*status = msg_fail(1, path, "%s; try again with more memory", strerror(ENOMEM));
		return NULL;
	}
	in->path = path;
	*status = figures_read(&in->figures, path, true);
	for (unsigned i = 0; i < in->figures.nr; i++)
		take(in, &in->figures.figure[i]);
	if (*status == 0 && in->n == 0)
		*status = msg_fail(EXIT_USAGE, path, "there is no timeline in it; name a file of steward sim --json");
	if (*status == 0)
		return in;
	free_sim(in);
	return NULL;
}

struct line {
	const char *name;
	enum column column;
};

/* Sizes as bytes; counts as rates. */
static void draw(struct html *h, struct input *in, const char *title, enum chart_unit unit, const struct line *line, unsigned nr)
{
	struct chart c = { .title = title, .x_unit = CHART_TIME, .y_unit = unit };

	for (unsigned k = 0; k < nr; k++) {
		const double *from = in->column[line[k].column], *ns = in->column[NS];
		double *y = in->drawn[k], most = 0;

		for (unsigned i = 0; i < in->n; i++) {
			double seconds = (ns[i] - (i > 0 ? ns[i - 1] : 0)) / 1e9;

			y[i] = unit == CHART_BYTES ? from[i] * (double)PAGE_SIZE :
			       seconds > 0 ? (from[i] - (i > 0 ? from[i - 1] : 0)) / seconds : NAN;
			most = fmax(most, y[i]);
		}
		if (most > 0)
			chart_add(&c, line[k].name, ns, y, in->n);
	}
	if (c.nr_series > 0)
		html_chart(h, &c);
}

static void charts(struct html *h, struct input *in)
{
	static const struct line memory[] = {
		{ "charged", CHARGED }, { "inactive, anonymous", INACTIVE_ANON }, { "active, anonymous", ACTIVE_ANON },
		{ "inactive, files", INACTIVE_FILE }, { "active, files", ACTIVE_FILE }, { "sampled", SAMPLE }, { "page tables", TABLES },
		{ "in swap", SWAP },
	};
	static const struct line free_memory[] = { { "free, of node 0", FREE } };
	static const struct line faults[] = { { "minor", MINOR }, { "soft", SOFT }, { "copy on write", COW }, { "major", MAJOR } };
	static const struct line pages[] = { { "looked at", SCANNED }, { "in", IN }, { "out", OUT } };

	html_section(h, "Memory");
	draw(h, in, "Lists, page tables, swap", CHART_BYTES, memory, ARRAY_SIZE(memory));
	draw(h, in, "Free memory", CHART_BYTES, free_memory, ARRAY_SIZE(free_memory));
	html_section(h, "Activity");
	draw(h, in, "Faults a second", CHART_COUNT, faults, ARRAY_SIZE(faults));
	draw(h, in, "Pages a second: looked at by reclaim, in and out", CHART_COUNT, pages, ARRAY_SIZE(pages));
}

static double figure(const struct input *in, const char *name)
{
	for (unsigned i = 0; i < in->figures.nr; i++)
		if (strcmp(in->figures.figure[i].name, name) == 0 && in->figures.figure[i].value >= 0)
			return in->figures.figure[i].value;
	return 0;
}

static const char *headline(const struct input *in, char *buf, size_t size)
{
	double own = figure(in, "own_ns");
	struct fmt f;

	fmt_init(&f, buf, size);
	put_some(&f, "", (uint64_t)figure(in, "touches"), " touches took ");
	put_time(&f, "", (uint64_t)figure(in, "time_ns"), "");
	if (own > 0) {
		fmt_str(&f, ", ");
		fmt_fixed(&f, (uint64_t)(figure(in, "time_ns") / own * 100), 2);
		fmt_str(&f, " times the programs' own time");
	}
	put_some(&f, ": ", (uint64_t)figure(in, "counters.pgfault"), " faults, ");
	put_some(&f, "", (uint64_t)figure(in, "counters.pgmajfault"), " of them major.");
	return buf;
}

static void counters(struct html *h, const struct input *in)
{
	static const char *const heads[] = { "counter", "value" };
	struct html_cells c = { 0 };

	html_section(h, "Counters");
	html_table(h, heads, ARRAY_SIZE(heads));
	for (unsigned i = 0; i < in->figures.nr; i++) {
		const struct figure *f = &in->figures.figure[i];

		if (strncmp(f->name, "counters.", 9) != 0 || !(f->value > 0))
			continue;
		cell_text(&c, f->name + 9);
		cell_count(&c, (uint64_t)f->value);
		cells_end(&c, h);
	}
	html_table_end(h);
}

static int put(struct html *h, const void *input, const char *path)
{
	struct input *in = (struct input *)input;
	char title[1024], text[256];

	snprintf(title, sizeof(title), "steward sim (%s)", path);
	html_input(h, title, headline(in, text, sizeof(text)));
	charts(h, in);
	counters(h, in);
	return 0;
}

/* The file is what conditions are about. */
static int figures(const void *input, int fd)
{
	const struct input *in = input;
	FILE *f = fopen(in->path, "re");
	char buf[4096];
	int err = f != NULL ? 0 : -errno;
	size_t n;

	while (err == 0 && (n = fread(buf, 1, sizeof(buf), f)) > 0)
		err = write_all(fd, buf, n);
	if (f != NULL)
		fclose(f);
	return err;
}

const struct report_kind report_sim = { "{", read_sim, put, figures, free_sim };

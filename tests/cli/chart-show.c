/* Charts of known data, as the terminal shows them, for test_chart.py. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/draw/plot.h"

static void text(enum chart_unit unit, double v)
{
	char buf[32];

	printf("%s\n", chart_text(unit, v, buf, sizeof(buf)));
}

static void texts(void)
{
	const double bytes[] = { 0, 1000, 1024, 1536, 128 * 1048576.0, 1.5 * 1073741824.0 };
	const double ns[] = { 0, 250, 2300, 1.5e6, 2e9, 5e11 }, counts[] = { 0, 7, 999, 1000, 1250000 };

	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		text(CHART_BYTES, bytes[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(ns); i++)
		text(CHART_TIME, ns[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
		text(CHART_COUNT, counts[i]);
	text(CHART_TIMES, 1.5);
	text(CHART_PERCENT, 99.5);
}

static void plots(void)
{
	const double x[] = { 0, 16384, 32768, 65536 }, falls[] = { 32, 8, 2, 1 }, gap[] = { 100, NAN, 50, 0 };
	struct chart log = { .title = "a line on a logarithmic axis", .x_unit = CHART_BYTES, .y_unit = CHART_TIMES, .log_y = true };
	struct chart linear = { .title = "a gap", .x_unit = CHART_BYTES };
	double bars[PLOT_CELLS];

	chart_add(&log, "falls", x, falls, 4);
	chart_mark(&log, 32768, "half of it");
	chart_mark(&log, 65536, "all of it");
	chart_add(&linear, "gap", x, gap, 4);
	plot_print(&log);
	plot_print(&linear);
	for (unsigned i = 0; i < PLOT_CELLS; i++)
		bars[i] = i == 30 ? NAN : i * 4096.0;
	plot_bars("1 ms", bars, PLOT_CELLS, 60 * 4096.0, CHART_BYTES);
	plot_bars("2 ms", bars, 3, 60 * 4096.0, CHART_BYTES);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "texts") == 0)
		texts();
	else
		plots();
	return 0;
}

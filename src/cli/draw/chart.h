/*
 * A chart as data: lines over a common x axis. plot.c draws it in a terminal, report/chart.js in a browser.
 */
#ifndef STW_CLI_DRAW_CHART_H
#define STW_CLI_DRAW_CHART_H

#include "base/types.h"

#define CHART_SERIES_MAX 8
#define CHART_MARKS_MAX 4
#define CHART_TICKS_MAX 10

enum chart_unit { CHART_COUNT, CHART_BYTES, CHART_TIME, CHART_TIMES, CHART_PERCENT }; /* TIME: ns; TIMES: "2×" */

struct chart_series {
	const char *name;
	const double *x, *y; /* x ascending; y NAN: a gap */
	unsigned n;
};

/* A place on the x axis that is told about. */
struct chart_mark {
	double x;
	const char *text;
};

/* Lines and texts are the caller's. */
struct chart {
	const char *title;
	enum chart_unit x_unit, y_unit;
	bool log_y;          /* to the base 2; values must be above 0 */
	bool log_x;          /* the same, in a browser only, as is what follows */
	bool bars;           /* one at each x, instead of lines */
	double y_most;       /* the axis ends here at the latest; 0: where all values are on it */
	struct chart_series series[CHART_SERIES_MAX];
	unsigned nr_series;
	struct chart_mark mark[CHART_MARKS_MAX];
	unsigned nr_marks;
};

struct chart_axis {
	double low, high;
	double tick[CHART_TICKS_MAX];
	unsigned nr_ticks;
	bool log;
};

void chart_add(struct chart *c, const char *name, const double *x, const double *y, unsigned n);
void chart_mark(struct chart *c, double x, const char *text);

/* The axis: from 0 (log: 1, or what is below) to a round number that holds all values. About so many ticks. */
struct chart_axis chart_x_axis(const struct chart *c, unsigned ticks);
struct chart_axis chart_y_axis(const struct chart *c, unsigned ticks);
/* Where v is on the axis, 0 to 1. */
double chart_place(const struct chart_axis *a, double v);

/* "64 MiB", "1.5 s", "2×", "20 k". Returns buf. */
const char *chart_text(enum chart_unit unit, double v, char *buf, size_t size);

#endif

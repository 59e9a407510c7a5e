#include "cli/draw/chart.h"

#include <math.h>
#include <stdio.h>

#include "base/assert.h"

void chart_add(struct chart *c, const char *name, const double *x, const double *y, unsigned n)
{
	ASSERT(c->nr_series < CHART_SERIES_MAX);
	c->series[c->nr_series++] = (struct chart_series){ .name = name, .x = x, .y = y, .n = n };
}

void chart_mark(struct chart *c, double x, const char *text)
{
	ASSERT(c->nr_marks < CHART_MARKS_MAX);
	c->mark[c->nr_marks++] = (struct chart_mark){ .x = x, .text = text };
}

/* The smallest round step that needs no more than so many ticks up to high. */
static double round_step(enum chart_unit unit, double high, unsigned ticks)
{
	double step = high / ticks;

	if (unit == CHART_BYTES)
		return exp2(ceil(log2(MAX(step, 1))));
	double power = pow(10, floor(log10(step)));

	for (unsigned i = 0; i < 3; i++) {
		static const double round[] = { 1, 2, 5 };

		if (step <= round[i] * power * (1 + 1e-9))
			return round[i] * power;
	}
	return 10 * power;
}

static void linear_ticks(struct chart_axis *a, enum chart_unit unit, double high, unsigned ticks)
{
	double step;

	/* Counts are whole. */
	high = high > 0 ? high : 1;
	step = round_step(unit, high, ticks);
	if (unit == CHART_COUNT || unit == CHART_BYTES)
		step = MAX(step, 1);
	a->high = step * ceil(high / step - 1e-9);
	for (unsigned i = 0; i < CHART_TICKS_MAX && step * i <= a->high * (1 + 1e-9); i++)
		a->tick[a->nr_ticks++] = step * i;
}

static void log_ticks(struct chart_axis *a, double low, double high, unsigned ticks)
{
	double from = floor(log2(MIN(low, 1)) + 1e-9), to = ceil(log2(high) - 1e-9);

	to = MAX(to, from + 1);
	double step = ceil((to - from) / ticks);

	a->log = true;
	a->low = exp2(from);
	a->high = exp2(to);
	for (double e = from; e <= to && a->nr_ticks < CHART_TICKS_MAX; e += step)
		a->tick[a->nr_ticks++] = exp2(e);
}

struct chart_axis chart_x_axis(const struct chart *c, unsigned ticks)
{
	struct chart_axis a = { 0 };
	double high = 0;

	for (unsigned i = 0; i < c->nr_series; i++)
		if (c->series[i].n > 0)
			high = MAX(high, c->series[i].x[c->series[i].n - 1]);
	linear_ticks(&a, c->x_unit, high, ticks);
	/* Nothing is beyond the last value. */
	a.high = high > 0 ? high : a.high;
	while (a.nr_ticks > 1 && a.tick[a.nr_ticks - 1] > a.high * (1 + 1e-9))
		a.nr_ticks--;
	return a;
}

struct chart_axis chart_y_axis(const struct chart *c, unsigned ticks)
{
	struct chart_axis a = { 0 };
	double low = INFINITY, high = 0;

	for (unsigned i = 0; i < c->nr_series; i++) {
		for (unsigned k = 0; k < c->series[i].n; k++) {
			double y = c->series[i].y[k];

			if (isnan(y))
				continue;
			low = MIN(low, y);
			high = MAX(high, y);
		}
	}
	if (c->log_y && low > 0 && high > 0 && !isinf(low))
		log_ticks(&a, low, high, ticks);
	else if (c->y_unit == CHART_PERCENT)
		linear_ticks(&a, c->y_unit, 100, ticks);
	else
		linear_ticks(&a, c->y_unit, high, ticks);
	return a;
}

double chart_place(const struct chart_axis *a, double v)
{
	if (a->log)
		return log2(v / a->low) / log2(a->high / a->low);
	return (v - a->low) / (a->high - a->low);
}

static const char *scaled(double v, double base, const char *const *units, unsigned n, char *buf, size_t size)
{
	unsigned u = 0;

	for (; u + 1 < n && v >= base; u++)
		v /= base;
	/* Three digits are enough, and no zeros behind the point. */
	snprintf(buf, size, v < 100 && v != floor(v) ? "%.3g%s%s" : "%.0f%s%s", v, units[u][0] != '\0' ? " " : "", units[u]);
	return buf;
}

const char *chart_text(enum chart_unit unit, double v, char *buf, size_t size)
{
	static const char *const bytes[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	static const char *const counts[] = { "", "k", "M", "G", "T" };
	static const char *const times[] = { "ns", "us", "ms", "s" };

	switch (unit) {
	case CHART_BYTES:
		return scaled(v, 1024, bytes, ARRAY_SIZE(bytes), buf, size);
	case CHART_TIME:
		return scaled(v, 1000, times, ARRAY_SIZE(times), buf, size);
	case CHART_COUNT:
		return scaled(v, 1000, counts, ARRAY_SIZE(counts), buf, size);
	case CHART_TIMES:
		snprintf(buf, size, "%.3g×", v);
		return buf;
	default:
		snprintf(buf, size, "%.3g %%", v);
		return buf;
	}
}

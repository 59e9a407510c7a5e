/*
 * Charts of characters:
 *
 *	  title
 *	    32× ┤⣀
 *	        │ ⠑⢄
 *	     1× ┤   ⠉⠒⠒⠤⠤⣀⣀
 *	        └┬─────────┬─────────┬
 *	         0        32 MiB    64 MiB
 *	               ▲ 41 MiB: text of a mark
 *
 * A cell of Braille has 2 by 4 dots, bits of U+2800 in this order, left column first:
 *
 *	1 8
 *	2 16
 *	4 32
 *	64 128
 */
#include "cli/draw/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABEL 9
#define COLUMNS 68
#define ROWS 10
#define BARS_LABEL 7
#define DOTS_X (COLUMNS * 2)
#define DOTS_Y (ROWS * 4)

struct canvas {
	unsigned char cell[ROWS][COLUMNS];
};

static void dot(struct canvas *c, int x, int y)
{
	static const unsigned char bit[4][2] = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } };

	if (x >= 0 && x < DOTS_X && y >= 0 && y < DOTS_Y)
		c->cell[y / 4][x / 2] |= bit[y % 4][x % 2];
}

/* As many dots as the longer side has. */
static void line(struct canvas *c, double x0, double y0, double x1, double y1)
{
	int n = (int)MAX(fabs(x1 - x0), fabs(y1 - y0)) + 1;

	for (int i = 0; i <= n; i++)
		dot(c, (int)lround(x0 + (x1 - x0) * i / n), (int)lround(y0 + (y1 - y0) * i / n));
}

static void draw(struct canvas *c, const struct chart_series *s, const struct chart_axis *x, const struct chart_axis *y)
{
	double before_x = NAN, before_y = NAN;

	for (unsigned i = 0; i < s->n; i++) {
		double px = chart_place(x, s->x[i]) * (DOTS_X - 1), py = (1 - chart_place(y, s->y[i])) * (DOTS_Y - 1);

		if (isnan(s->y[i])) {
			before_x = NAN;
			continue;
		}
		if (isnan(before_x))
			line(c, px, py, px, py);
		else
			line(c, before_x, before_y, px, py);
		before_x = px;
		before_y = py;
	}
}

/* Columns of a text in UTF-8, of which each character takes one. */
static int columns(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static int cell_of(const struct chart_axis *a, double v, int cells)
{
	return (int)lround(chart_place(a, v) * (cells - 1));
}

static void print_row(const struct canvas *c, const struct chart *chart, const struct chart_axis *y, int row)
{
	const char *label = "";
	char text[32];
	int last = COLUMNS;

	for (unsigned i = 0; i < y->nr_ticks; i++)
		if (ROWS - 1 - cell_of(y, y->tick[i], ROWS) == row)
			label = chart_text(chart->y_unit, y->tick[i], text, sizeof(text));
	printf("%*s%s %s", LABEL - columns(label), "", label, label[0] != '\0' ? "┤" : "│");
	while (last > 0 && c->cell[row][last - 1] == 0)
		last--;
	for (int i = 0; i < last; i++) {
		unsigned char dots = c->cell[row][i];

		if (dots == 0)
			putchar(' ');
		else
			printf("\xe2%c%c", 0xa0 + (dots >> 6), 0x80 + (dots & 0x3f));
	}
	putchar('\n');
}

/* The axis with a tick above each label; labels that would run into each other are left out. */
static void print_x_axis(const struct chart *chart, const struct chart_axis *x)
{
	int at = 0;

	printf("%*s └", LABEL, "");
	for (int i = 0; i < COLUMNS; i++) {
		bool tick = false;

		for (unsigned k = 0; k < x->nr_ticks; k++)
			tick |= cell_of(x, x->tick[k], COLUMNS) == i;
		fputs(tick ? "┬" : "─", stdout);
	}
	printf("\n%*s  ", LABEL, "");
	for (unsigned k = 0; k < x->nr_ticks; k++) {
		char text[32];
		int width = columns(chart_text(chart->x_unit, x->tick[k], text, sizeof(text)));
		int start = MIN(MAX(cell_of(x, x->tick[k], COLUMNS) - width / 2, 0), COLUMNS - width);

		if (k > 0 && start <= at)
			continue;
		printf("%*s%s", start - at, "", text);
		at = start + width;
	}
	putchar('\n');
}

static void print_mark(const struct chart_axis *x, const struct chart_mark *m)
{
	int at = cell_of(x, m->x, COLUMNS), width = columns(m->text);

	if (at + 2 + width <= COLUMNS)
		printf("%*s%*s▲ %s\n", LABEL + 2, "", at, "", m->text);
	else
		printf("%*s%*s%s ▲\n", LABEL + 2, "", MAX(at - 1 - width, 0), "", m->text);
}

void plot_print(const struct chart *c)
{
	struct chart_axis x = chart_x_axis(c, 6), y = chart_y_axis(c, 5);
	struct canvas canvas;

	memset(&canvas, 0, sizeof(canvas));
	for (unsigned i = 0; i < c->nr_series; i++)
		draw(&canvas, &c->series[i], &x, &y);
	printf("  %s\n", c->title);
	for (int row = 0; row < ROWS; row++)
		print_row(&canvas, c, &y, row);
	print_x_axis(c, &x);
	for (unsigned i = 0; i < c->nr_marks; i++)
		print_mark(&x, &c->mark[i]);
}

void plot_bars(const char *label, const double *value, unsigned n, double most, enum chart_unit unit)
{
	static const char *const bar[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	double largest = 0;
	char text[32];

	printf("%*s%s ", BARS_LABEL - columns(label), "", label);
	for (unsigned i = 0; i < n; i++) {
		if (isnan(value[i]) || most <= 0) {
			putchar(' ');
			continue;
		}
		largest = MAX(largest, value[i]);
		fputs(bar[MIN(MAX((int)(value[i] / most * 8), 0), 7)], stdout);
	}
	printf("%*s %s\n", (int)(PLOT_CELLS - n), "", chart_text(unit, largest, text, sizeof(text)));
}

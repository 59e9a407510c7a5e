/* A chart as SVG inside the page: grid and axes, a line for each series, a legend with its dashes, marks on the x axis. */
#include "cli/draw/html.h"

#include <math.h>

#define WIDTH 900
#define HEIGHT 260
#define LEFT 76
#define RIGHT 24
#define TOP 12
#define BOTTOM 44 /* with the line of marks */

static double at_x(const struct chart_axis *a, double v)
{
	return LEFT + chart_place(a, v) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct chart_axis *a, double v)
{
	return HEIGHT - BOTTOM - chart_place(a, v) * (HEIGHT - TOP - BOTTOM);
}

static void svg_line(FILE *f, const char *class, double x1, double y1, double x2, double y2)
{
	fprintf(f, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

static void svg_text(FILE *f, const char *class, double x, double y, const char *anchor, const char *text)
{
	fprintf(f, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y, anchor);
	html_escape(f, text);
	fputs("</text>\n", f);
}

static void axes(FILE *f, const struct chart *c, const struct chart_axis *x, const struct chart_axis *y)
{
	char text[32];

	for (unsigned i = 0; i < y->nr_ticks; i++) {
		double py = at_y(y, y->tick[i]);

		svg_line(f, "grid", LEFT, py, WIDTH - RIGHT, py);
		svg_text(f, "tick", LEFT - 8, py + 4, "end", chart_text(c->y_unit, y->tick[i], text, sizeof(text)));
	}
	svg_line(f, "axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
	for (unsigned i = 0; i < x->nr_ticks; i++) {
		double px = at_x(x, x->tick[i]);

		svg_line(f, "axis", px, HEIGHT - BOTTOM, px, HEIGHT - BOTTOM + 5);
		svg_text(f, "tick", px, HEIGHT - BOTTOM + 19, "middle", chart_text(c->x_unit, x->tick[i], text, sizeof(text)));
	}
}

static void series(FILE *f, const struct chart_series *s, unsigned nr, const struct chart_axis *x, const struct chart_axis *y)
{
	bool move = true;

	fprintf(f, "<path class=\"s s%u\" d=\"", nr);
	for (unsigned i = 0; i < s->n; i++) {
		if (isnan(s->y[i])) {
			move = true;
			continue;
		}
		fprintf(f, "%c%.1f %.1f", move ? 'M' : 'L', at_x(x, s->x[i]), at_y(y, s->y[i]));
		move = false;
	}
	fputs("\"><title>", f);
	html_escape(f, s->name);
	fputs("</title></path>\n", f);
}

static void mark(FILE *f, const struct chart_axis *x, const struct chart_mark *m)
{
	double px = at_x(x, m->x);
	const char *anchor = px < WIDTH / 3.0 ? "start" : px < WIDTH * 2 / 3.0 ? "middle" : "end";

	svg_line(f, "markline", px, TOP, px, HEIGHT - BOTTOM + 24);
	svg_text(f, "mark", px, HEIGHT - 6, anchor, m->text);
}

static void legend(FILE *f, const struct chart *c)
{
	if (c->nr_series < 2)
		return;
	fputs("<div class=\"legend\">", f);
	for (unsigned i = 0; i < c->nr_series; i++) {
		fprintf(f, "<span><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><path class=\"s s%u\" d=\"M0 5H34\"/></svg>", i);
		html_escape(f, c->series[i].name);
		fputs("</span>\n", f);
	}
	fputs("</div>\n", f);
}

void html_chart(struct html *h, const struct chart *c)
{
	struct chart_axis x = chart_x_axis(c, 8), y = chart_y_axis(c, 5);

	fputs("<figure>\n<figcaption>", h->f);
	html_escape(h->f, c->title);
	fputs("</figcaption>\n", h->f);
	legend(h->f, c);
	fprintf(h->f, "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
		WIDTH, HEIGHT);
	html_escape(h->f, c->title);
	fputs("\">\n", h->f);
	axes(h->f, c, &x, &y);
	for (unsigned i = 0; i < c->nr_series; i++)
		series(h->f, &c->series[i], i, &x, &y);
	for (unsigned i = 0; i < c->nr_marks; i++)
		mark(h->f, &x, &c->mark[i]);
	fputs("</svg>\n</figure>\n", h->f);
}

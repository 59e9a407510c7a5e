#include "cli/draw/html.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/draw/html_assets.h"
#include "cli/draw/utf8.h"
#include "cli/msg.h"
#include "cli/outfile.h"

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
	"<!-- Charts by uPlot, Copyright (c) 2022 Leon Sorokin, MIT license. -->\n";
static const char body[] = "<noscript>This page draws itself with JavaScript, which is switched off.</noscript>\n<main id=\"page\"></main>\n";

/* --- JSON that may stand inside of HTML: no "<" --- */

static void put_text(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	fputc('"', f);
	while (*s != '\0') {
		unsigned n = utf8_len(s);

		if (n == 0 || *s == 0x7f)
			fputs("\\ufffd", f);
		else if (*s < 0x20 || *s == '"' || *s == '\\' || *s == '<' || *s == '>' || *s == '&')
			fprintf(f, "\\u%04x", *s);
		else
			fwrite(s, 1, n, f);
		s += MAX(n, 1u);
	}
	fputc('"', f);
}

/* Whole numbers are exact. */
static void put_double(FILE *f, double v)
{
	if (!isfinite(v))
		fputs("null", f);
	else if (v == floor(v) && fabs(v) < 1e15)
		fprintf(f, "%.0f", v);
	else
		fprintf(f, "%.9g", v);
}

static void comma(struct html *h)
{
	if (h->comma)
		fputs(",\n", h->f);
	h->comma = true;
}

static void put_key(struct html *h, const char *key)
{
	comma(h);
	fprintf(h->f, "\"%s\":", key);
}

static void put_string(struct html *h, const char *key, const char *text)
{
	put_key(h, key);
	put_text(h->f, text);
}

static void put_bool(struct html *h, const char *key, bool value)
{
	put_key(h, key);
	fputs(value ? "true" : "false", h->f);
}

/* Opens what comes next with its brackets, behind the key if it has one, and closes it again. */
static void open_with(struct html *h, const char *key, const char *brackets)
{
	if (key != NULL)
		put_key(h, key);
	else
		comma(h);
	fputs(brackets, h->f);
	h->comma = false;
}

static void close_with(struct html *h, const char *brackets)
{
	fputs(brackets, h->f);
	h->comma = true;
}

static void put_doubles(struct html *h, const char *key, const double *v, unsigned n)
{
	if (key != NULL)
		put_key(h, key);
	else
		comma(h);
	for (unsigned i = 0; i < n; i++) {
		fputc(i == 0 ? '[' : ',', h->f);
		put_double(h->f, v[i]);
	}
	fputs(n == 0 ? "[]" : "]", h->f);
}

static void put_texts(struct html *h, const char *key, const char *const *text, unsigned n)
{
	open_with(h, key, "[");
	for (unsigned i = 0; i < n; i++) {
		comma(h);
		put_text(h->f, text[i]);
	}
	close_with(h, "]");
}

/* --- the page --- */

int html_begin(struct html *h, const char *name)
{
	*h = (struct html){ 0 };
	h->f = open_memstream(&h->text, &h->len);
	if (h->f == NULL)
		return -ENOMEM;
	fprintf(h->f, "%s<title>", head);
	for (const char *s = name; *s != '\0'; s++)
		fputc(strchr("<>&", *s) != NULL || (unsigned char)*s < 0x20 ? '?' : *s, h->f);
	fprintf(h->f, "</title>\n<style>\n%s\n</style>\n</head>\n<body>\n%s<script type=\"application/json\" id=\"data\">\n{\"inputs\":[",
		html_style, body);
	return 0;
}

static void end_section(struct html *h)
{
	if (h->in_section)
		close_with(h, "]}");
	h->in_section = false;
}

static void end_input(struct html *h)
{
	end_section(h);
	if (h->in_input)
		close_with(h, "]}");
	h->in_input = false;
}

void html_input(struct html *h, const char *title, const char *headline)
{
	end_input(h);
	open_with(h, NULL, "{");
	put_string(h, "title", title);
	put_string(h, "headline", headline);
	open_with(h, "sections", "[");
	h->in_input = true;
}

void html_section(struct html *h, const char *title)
{
	end_section(h);
	open_with(h, NULL, "{");
	put_string(h, "title", title);
	open_with(h, "items", "[");
	h->in_section = true;
}

void html_text(struct html *h, const char *text)
{
	open_with(h, NULL, "{");
	put_string(h, "text", text);
	close_with(h, "}");
}

static bool same_x(const struct chart *c)
{
	for (unsigned i = 1; i < c->nr_series; i++)
		if (c->series[i].x != c->series[0].x || c->series[i].n != c->series[0].n)
			return false;
	return c->nr_series > 0;
}

static void put_series(struct html *h, const struct chart_series *s, bool with_x)
{
	open_with(h, NULL, "{");
	put_string(h, "name", s->name);
	if (with_x)
		put_doubles(h, "x", s->x, s->n);
	put_doubles(h, "y", s->y, s->n);
	close_with(h, "}");
}

static void put_marks(struct html *h, const struct chart *c)
{
	open_with(h, "marks", "[");
	for (unsigned i = 0; i < c->nr_marks; i++) {
		open_with(h, NULL, "{");
		put_key(h, "x");
		put_double(h->f, c->mark[i].x);
		put_string(h, "text", c->mark[i].text);
		close_with(h, "}");
	}
	close_with(h, "]");
}

void html_chart(struct html *h, const struct chart *c)
{
	static const char *const units[] = { [CHART_COUNT] = "count", [CHART_BYTES] = "bytes", [CHART_TIME] = "time",
					     [CHART_TIMES] = "times", [CHART_PERCENT] = "percent" };
	bool same = same_x(c);

	open_with(h, NULL, "{");
	open_with(h, "chart", "{");
	put_string(h, "title", c->title);
	put_string(h, "x_unit", units[c->x_unit]);
	put_string(h, "y_unit", units[c->y_unit]);
	put_bool(h, "log_x", c->log_x);
	put_bool(h, "log_y", c->log_y);
	put_bool(h, "bars", c->bars);
	put_key(h, "y_most");
	put_double(h->f, c->y_most);
	if (same)
		put_doubles(h, "x", c->series[0].x, c->series[0].n);
	open_with(h, "series", "[");
	for (unsigned i = 0; i < c->nr_series; i++)
		put_series(h, &c->series[i], !same);
	close_with(h, "]");
	put_marks(h, c);
	close_with(h, "}}");
}

void html_table(struct html *h, const char *const *heads, unsigned n)
{
	open_with(h, NULL, "{");
	open_with(h, "table", "{");
	put_texts(h, "heads", heads, n);
	open_with(h, "rows", "[");
}

void html_row(struct html *h, const char *const *cells, unsigned n)
{
	put_texts(h, NULL, cells, n);
}

void html_table_end(struct html *h)
{
	close_with(h, "]}}");
}

static void put_map_area(struct html *h, const struct html_map_area *a)
{
	open_with(h, NULL, "{");
	put_string(h, "name", a->name);
	put_key(h, "start");
	put_double(h->f, (double)a->start);
	put_key(h, "pages");
	put_double(h->f, (double)a->pages);
	put_key(h, "row");
	put_double(h->f, a->row);
	put_key(h, "rows");
	put_double(h->f, a->rows);
	close_with(h, "}");
}

void html_map(struct html *h, const struct html_map *m)
{
	unsigned numbers = m->rows * HTML_MAP_STATES;

	open_with(h, NULL, "{");
	open_with(h, "map", "{");
	put_string(h, "title", m->title);
	put_doubles(h, "ns", m->ns, m->n);
	open_with(h, "areas", "[");
	for (unsigned i = 0; i < m->nr_areas; i++)
		put_map_area(h, &m->area[i]);
	close_with(h, "]");
	put_doubles(h, "pages", m->pages, m->rows);
	open_with(h, "cells", "[");
	for (unsigned i = 0; i < m->n; i++)
		put_doubles(h, NULL, m->cell + i * numbers, numbers);
	close_with(h, "]");
	put_doubles(h, "rest", m->rest, m->n);
	close_with(h, "}}");
}

void html_events(struct html *h)
{
	open_with(h, NULL, "{");
	open_with(h, "events", "[");
}

void html_event(struct html *h, double ns, bool bad, const char *text)
{
	open_with(h, NULL, "{");
	put_key(h, "ns");
	put_double(h->f, ns);
	put_bool(h, "bad", bad);
	put_string(h, "text", text);
	close_with(h, "}");
}

void html_events_end(struct html *h)
{
	close_with(h, "]}");
}

int html_json(struct html *h, const char *kind, int fd)
{
	char buf[4096];
	ssize_t n;

	open_with(h, NULL, "{");
	put_key(h, kind);
	for (off_t at = 0; (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n) {
		for (ssize_t i = 0; i < n; i++) {
			/* It stands in texts only. */
			if (buf[i] == '<')
				fputs("\\u003c", h->f);
			else
				fputc(buf[i], h->f);
		}
	}
	close_with(h, "}");
	return n < 0 ? -errno : 0;
}

static int write_page(const char *text, size_t len, const char *path)
{
	struct outfile out;
	int err = outfile_open(&out, path);

	if (err != 0)
		return err;
	err = write_all(out.fd, text, len);
	if (err == 0)
		return outfile_commit(&out);
	outfile_drop(&out);
	return err;
}

int html_finish(struct html *h, const char *path)
{
	int err;

	end_input(h);
	fprintf(h->f, "]}\n</script>\n<script>\n%s\n</script>\n</body>\n</html>\n", html_script);
	err = h->failed || ferror(h->f) ? -ENOMEM : 0;
	if (fclose(h->f) != 0)
		err = -ENOMEM;
	if (err == 0)
		err = write_page(h->text, h->len, path);
	free(h->text);
	return err == 0 ? 0 : msg_fail(1, path, "%s; name a file that can be written", strerror(-err));
}

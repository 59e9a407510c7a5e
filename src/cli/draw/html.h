/*
 * Reports as one self-contained HTML page, without network: style, script and data. What is written here, in order, is
 * the data, a JSON object; report/page.js makes the page of it:
 *
 *     { "inputs": [ { "title", "headline", "sections": [ { "title", "items": [ item… ] }… ] }… ] }
 *     item:  { "text" } or
 *            { "map": { "title", "ns": […], "areas": [ { "name", "start", "pages", "row", "rows" }… ], "pages": […] of each row,
 *                       "cells": [ […]… ] at each moment: for each row HTML_MAP_STATES numbers of pages, "rest": […] } } or
 *            { "steps": { "tlbs", "lists", "zones": names, "steps": [ { "text", "also": […], "walk": [ { "level", "index", "entry" }… ],
 *                         "tlb": [ [page…]… ], "lists": [ { "pages", "youngest": […] }… ], "free": [ [of each order…]… ],
 *                         "charged", "tables", "ns" }… ] } }, of an allocator without tlbs, lists, walk and tlb, and each step with
 *                       "heap": { "chunks": […], "bins": [ { "name", "chunks": […] }… ], "binmap": [bin…], "remainder": [chunk], "cache": […] } or
 *            { "events": [ { "ns", "bad", "text" }… ] } or
 *            { "table": { "heads": […], "rows": [[…]…] } } or
 *            { "chart": { "title", "x_unit", "y_unit", "log_x", "log_y", "bars", "x": […], "series": [ { "name", "y": […] }… ],
 *                         "marks": [ { "x", "text" }… ] } }     where series have x of their own if the chart has none
 */
#ifndef STW_CLI_DRAW_HTML_H
#define STW_CLI_DRAW_HTML_H

#include <stdio.h>

#include "cli/draw/chart.h"

struct html {
	FILE *f;       /* into text */
	char *text;
	size_t len;
	bool comma;    /* something stands before what comes next, in the same brackets */
	bool in_input, in_section;
	bool failed;   /* the page lacks something: it is not written */
};

/* Begins a page, which browsers show under this name. 0 or -ENOMEM. */
int html_begin(struct html *h, const char *name);
/* Begins what is about one input: its title, and the one sentence that matters. Several stand side by side. */
void html_input(struct html *h, const char *title, const char *headline);
void html_section(struct html *h, const char *title);
void html_text(struct html *h, const char *text);
void html_chart(struct html *h, const struct chart *c);
/* Heads of columns, then rows of as many cells; the first column is text, the others are figures unless they begin with '<' in heads. */
void html_table(struct html *h, const char *const *heads, unsigned n);
void html_row(struct html *h, const char *const *cells, unsigned n);
void html_table_end(struct html *h);
/* Where the pages of an address space are: areas cut into rows, at moments. */
enum { HTML_MAP_MAPPED, HTML_MAP_SAMPLE, HTML_MAP_POOL, HTML_MAP_SAME, HTML_MAP_FILED, HTML_MAP_FREE, HTML_MAP_STATES };

struct html_map_area {
	char name[64];
	uint64_t start, pages;
	unsigned row, rows;   /* its rows; equally large but for the last */
};

struct html_map {
	const char *title;
	const double *ns;
	unsigned n;           /* moments */
	const struct html_map_area *area;
	unsigned nr_areas;
	const double *pages;  /* of a row */
	unsigned rows;
	const double *cell;   /* [moment][row][state]; HTML_MAP_FREE counts pages that are in one of the others, too */
	const double *rest;   /* [moment]: pages in memory that belong to no area */
};

void html_map(struct html *h, const struct html_map *m);
/* What happened, and when: leads to that moment. bad: somebody had to wait, or to go. */
void html_events(struct html *h);
void html_event(struct html *h, double ns, bool bad, const char *text);
void html_events_end(struct html *h);
/* An item of that kind, whose JSON stands in the file from its beginning on. 0 or -errno. */
int html_json(struct html *h, const char *kind, int fd);
/* Ends the page and writes it to the file ("-": stdout), which appears when it is complete. Frees h. 0, or the exit status after having said why. */
int html_finish(struct html *h, const char *path);

#endif

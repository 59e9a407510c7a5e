/*
 * Reports as one self-contained HTML page, without network: style, script and data. What is written here, in order, is
 * the data, a JSON object; report/page.js makes the page of it:
 *
 *     { "inputs": [ { "title", "headline", "sections": [ { "title", "items": [ item… ] }… ] }… ] }
 *     item:  { "text" } or
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
/* What happened, and when: leads to that moment. bad: somebody had to wait, or to go. */
void html_events(struct html *h);
void html_event(struct html *h, double ns, bool bad, const char *text);
void html_events_end(struct html *h);
/* Ends the page and writes it to the file ("-": stdout), which appears when it is complete. Frees h. 0, or the exit status after having said why. */
int html_finish(struct html *h, const char *path);

#endif

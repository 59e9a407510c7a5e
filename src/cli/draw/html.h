/*
 * Reports as one self-contained HTML page: sections, texts, tables and charts, written in order. No network, no script
 * that it would need; light and dark as the reader's system is; lines differ by dashes, not by colour alone. The text is
 * well-formed XML as well, so that tools can read it.
 */
#ifndef STW_CLI_DRAW_HTML_H
#define STW_CLI_DRAW_HTML_H

#include <stdio.h>

#include "cli/draw/chart.h"

struct html {
	FILE *f;     /* into text */
	char *text;
	size_t len;
	bool open;   /* a section is */
	bool failed; /* the page lacks something: it is not written */
};

/* Begins a page: its title, and the one sentence that matters. 0 or -ENOMEM. */
int html_begin(struct html *h, const char *title, const char *headline);
void html_section(struct html *h, const char *title);
void html_text(struct html *h, const char *text);
void html_chart(struct html *h, const struct chart *c);
/* Heads of columns, then rows of as many cells; the first column is text, the others are figures unless they begin with '<' in heads. */
void html_table(struct html *h, const char *const *heads, unsigned n);
void html_row(struct html *h, const char *const *heads, const char *const *cells, unsigned n);
void html_table_end(struct html *h);
/* Ends the page and writes it to the file ("-": stdout), which appears when it is complete. Frees h. 0, or the exit status after having said why. */
int html_finish(struct html *h, const char *path);

/* Between the two files of it: text as it may stand in HTML. */
void html_escape(FILE *f, const char *text);

#endif

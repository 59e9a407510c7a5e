/* The cells of a row of a table in a page, one after the other: texts, and figures as people read them. */
#ifndef STW_CLI_DRAW_HTML_CELLS_H
#define STW_CLI_DRAW_HTML_CELLS_H

#include "base/fmt.h"
#include "cli/draw/html.h"

#define HTML_CELLS_MAX 12

/* Zero at first, and after each row. */
struct html_cells {
	char text[HTML_CELLS_MAX][96];
	const char *cell[HTML_CELLS_MAX];
	unsigned n;
};

/* Not copied: it must be there until the row ends. */
void cell_text(struct html_cells *c, const char *text);
void cell_count(struct html_cells *c, uint64_t n);
void cell_bytes(struct html_cells *c, uint64_t bytes);
void cell_time(struct html_cells *c, uint64_t ns);
/* a of b. */
void cell_percent(struct html_cells *c, uint64_t a, uint64_t b);
/* The row is complete. */
void cells_end(struct html_cells *c, struct html *h);

#endif

#include "cli/draw/html_cells.h"

#include "base/assert.h"
#include "cli/table.h"

static struct fmt next_cell(struct html_cells *c)
{
	struct fmt f;

	ASSERT(c->n < HTML_CELLS_MAX);
	fmt_init(&f, c->text[c->n], sizeof(c->text[0]));
	c->cell[c->n] = c->text[c->n];
	c->n++;
	return f;
}

void cell_text(struct html_cells *c, const char *text)
{
	ASSERT(c->n < HTML_CELLS_MAX);
	c->cell[c->n++] = text;
}

void cell_count(struct html_cells *c, uint64_t n)
{
	struct fmt f = next_cell(c);

	put_count(&f, n);
}

void cell_bytes(struct html_cells *c, uint64_t bytes)
{
	struct fmt f = next_cell(c);

	put_bytes(&f, "", bytes, "");
}

void cell_time(struct html_cells *c, uint64_t ns)
{
	struct fmt f = next_cell(c);

	put_time(&f, "", ns, "");
}

void cell_percent(struct html_cells *c, uint64_t a, uint64_t b)
{
	struct fmt f = next_cell(c);

	put_percent(&f, "", a, b, " %");
}

void cells_end(struct html_cells *c, struct html *h)
{
	html_row(h, c->cell, c->n);
	c->n = 0;
}

#include "cli/see/canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put_cell(struct canvas *c, const char *text)
{
	if (c->row < c->rows && c->col < c->cols) {
		struct cell *cell = &c->cell[c->row][c->col];

		memset(cell->text, 0, sizeof(cell->text));
		memcpy(cell->text, text, MIN(strlen(text), sizeof(cell->text)));
		cell->style = (uint8_t)c->style;
	}
	c->col++;
}

void canvas_init(struct canvas *c, unsigned rows, unsigned cols, bool utf8)
{
	c->rows = MIN(rows, CANVAS_ROWS_MAX);
	c->cols = MIN(cols, CANVAS_COLS_MAX);
	c->utf8 = utf8;
	for (unsigned row = 0; row < c->rows; row++) {
		canvas_move(c, row, 0, STYLE_PLAIN);
		canvas_fill(c);
	}
}

void canvas_move(struct canvas *c, unsigned row, unsigned col, enum style style)
{
	c->row = row;
	c->col = col;
	c->style = style;
}

void canvas_put(struct canvas *c, const char *text)
{
	char one[2] = "";

	for (; *text != '\0'; text++) {
		one[0] = *text >= ' ' && *text <= '~' ? *text : '?';
		put_cell(c, one);
	}
}

void canvas_printf(struct canvas *c, const char *format, ...)
{
	char text[CANVAS_COLS_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	canvas_put(c, text);
}

void canvas_label(struct canvas *c, unsigned row, int cols, const char *text)
{
	canvas_move(c, row, 0, STYLE_HEAD);
	canvas_printf(c, "%-*s", cols, text);
	c->style = STYLE_PLAIN;
}

void canvas_figure(struct canvas *c, enum style style, const char *name, const char *value)
{
	c->style = STYLE_DIM;
	canvas_printf(c, " %s ", name);
	c->style = style;
	canvas_put(c, value);
	c->style = STYLE_PLAIN;
}

void canvas_fill(struct canvas *c)
{
	while (c->col < c->cols)
		put_cell(c, " ");
}

void canvas_bar(struct canvas *c, unsigned cols, uint64_t whole, const struct bar_part *parts, unsigned nr)
{
	enum style style = c->style;
	uint64_t sum = 0;
	unsigned at = 0;

	put_cell(c, "[");
	for (unsigned i = 0; i < nr && whole > 0; i++) {
		char letter[2] = { parts[i].letter };

		sum = MIN(sum + parts[i].part, whole);
		/* Each part ends where the sum so far ends, so that rounding does not add up. */
		unsigned end = (unsigned)(((unsigned __int128)sum * cols + whole / 2) / whole);

		c->style = parts[i].style;
		for (; at < end; at++)
			put_cell(c, c->utf8 ? "\u2588" : letter);
	}
	c->style = style;
	for (; at < cols; at++)
		put_cell(c, c->utf8 ? "\u00b7" : ".");
	put_cell(c, "]");
}

void canvas_level(struct canvas *c, unsigned eighths)
{
	static const char *const blocks[] = { " ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588" };
	static const char *const ascii[] = { " ", ".", ":", "-", "=", "+", "*", "#", "@" };

	put_cell(c, (c->utf8 ? blocks : ascii)[MIN(eighths, 8u)]);
}

void canvas_text(const struct canvas *c, unsigned row, char *text)
{
	char *end = text;

	for (unsigned col = 0; col < c->cols; col++) {
		const struct cell *cell = &c->cell[row][col];
		size_t n = strnlen(cell->text, sizeof(cell->text));

		memcpy(text, cell->text, n);
		text += n;
		if (cell->text[0] != ' ')
			end = text;
	}
	*end = '\0';
}

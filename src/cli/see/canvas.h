/* A screen of characters with styles, drawn without knowing a terminal: top paints it, --once prints it. */
#ifndef STW_CLI_SEE_CANVAS_H
#define STW_CLI_SEE_CANVAS_H

#include "base/types.h"

#define CANVAS_ROWS_MAX 200
#define CANVAS_COLS_MAX 400

enum style { STYLE_PLAIN, STYLE_TITLE, STYLE_HEAD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_KEY, NR_STYLES };

struct cell {
	char text[4]; /* one character, UTF-8; not terminated if it takes all four */
	uint8_t style;
};

struct canvas {
	unsigned rows, cols;
	bool utf8;          /* bars may have eighths; else ASCII */
	enum style style;   /* of what is put next */
	unsigned row, col;  /* where */
	struct cell cell[CANVAS_ROWS_MAX][CANVAS_COLS_MAX];
};

/* Blank; sizes are cut to what there is room for. */
void canvas_init(struct canvas *c, unsigned rows, unsigned cols, bool utf8);
void canvas_move(struct canvas *c, unsigned row, unsigned col, enum style style);
/* Text that leaves the row is cut. What is not printable ASCII becomes '?'. */
void canvas_put(struct canvas *c, const char *text);
void canvas_printf(struct canvas *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a row begins with, so many columns wide. */
void canvas_label(struct canvas *c, unsigned row, int cols, const char *text);
/* " NAME VALUE", the name dim. */
void canvas_figure(struct canvas *c, enum style style, const char *name, const char *value);
/* The rest of the row in the style of now. */
void canvas_fill(struct canvas *c);

/* A part of a bar: part of whole, in a style, with a letter where there are no blocks. */
struct bar_part {
	uint64_t part;
	enum style style;
	char letter;
};
/* cols wide, between brackets; parts beyond the whole are cut. */
void canvas_bar(struct canvas *c, unsigned cols, uint64_t whole, const struct bar_part *parts, unsigned nr);
/* One character that is so high: 0 to 8 eighths. */
void canvas_level(struct canvas *c, unsigned eighths);
/* A row as text without trailing blanks; room for 4 bytes a column, and one. */
void canvas_text(const struct canvas *c, unsigned row, char *text);

#endif

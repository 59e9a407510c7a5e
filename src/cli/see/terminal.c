#include "cli/see/terminal.h"

#include <langinfo.h>
#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/msg.h"

static chtype attributes[NR_STYLES];

/* On the terminal's own background, in colours that are dark enough for a light one and light enough for a dark one. */
static void choose_styles(void)
{
	static const struct { enum style style; short colour; attr_t more; } styles[] = {
		{ STYLE_GOOD, COLOR_GREEN, 0 },
		{ STYLE_WARN, COLOR_MAGENTA, 0 },
		{ STYLE_BAD, COLOR_RED, A_BOLD },
		{ STYLE_KEY, COLOR_BLUE, 0 },
	};

	attributes[STYLE_TITLE] = A_REVERSE;
	attributes[STYLE_HEAD] = A_BOLD;
	attributes[STYLE_DIM] = A_DIM;
	for (unsigned i = 0; i < ARRAY_SIZE(styles); i++)
		attributes[styles[i].style] = styles[i].more;
	if (!has_colors() || start_color() != OK || use_default_colors() != OK)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(styles); i++)
		if (init_pair((short)(i + 1), styles[i].colour, -1) == OK)
			attributes[styles[i].style] |= COLOR_PAIR(i + 1);
}

int terminal_open(void)
{
	const char *name = getenv("TERM");

	if (newterm(NULL, stdout, stdin) == NULL)
		return msg_fail(1, "top", "the terminal \"%s\" is unknown here; set TERM, or use --once", name != NULL ? name : "");
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	set_escdelay(50);
	choose_styles();
	return 0;
}

void terminal_close(void)
{
	endwin();
}

void terminal_size(struct canvas *c)
{
	int rows, cols;

	getmaxyx(stdscr, rows, cols);
	canvas_init(c, (unsigned)rows, (unsigned)cols, strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
}

void terminal_paint(const struct canvas *c)
{
	for (unsigned row = 0; row < c->rows; row++) {
		move((int)row, 0);
		for (unsigned col = 0; col < c->cols; col++) {
			const struct cell *cell = &c->cell[row][col];

			attrset((int)attributes[cell->style]);
			addnstr(cell->text, (int)strnlen(cell->text, sizeof(cell->text)));
		}
	}
	refresh();
}

/* SIGHUP tells only those whose controlling terminal it is; reads of the others fail from then on. */
static bool is_gone(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int terminal_key(uint64_t patience_ns)
{
	timeout((int)(patience_ns / 1000000) + 1);
	int key = getch();

	switch (key) {
	case ERR:
		return is_gone() ? TERMINAL_GONE : TERMINAL_NONE;
	case '\n':
	case '\r':
	case KEY_ENTER:
		return TERMINAL_ENTER;
	case 27:
		return TERMINAL_ESCAPE;
	case 127:
	case '\b':
	case KEY_BACKSPACE:
		return TERMINAL_BACKSPACE;
	case KEY_UP:
		return TERMINAL_UP;
	case KEY_DOWN:
		return TERMINAL_DOWN;
	case KEY_PPAGE:
		return TERMINAL_PAGE_UP;
	case KEY_NPAGE:
		return TERMINAL_PAGE_DOWN;
	case KEY_HOME:
		return TERMINAL_HOME;
	case KEY_END:
		return TERMINAL_END;
	default:
		return key < 256 ? key : TERMINAL_OTHER;
	}
}

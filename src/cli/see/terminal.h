/* The terminal of steward top: a canvas goes out, keys come in. The only file that knows ncurses is terminal.c. */
#ifndef STW_CLI_SEE_TERMINAL_H
#define STW_CLI_SEE_TERMINAL_H

#include "cli/see/canvas.h"

/* Beyond what a character is. */
enum terminal_key {
	TERMINAL_NONE = -1,
	TERMINAL_ENTER = 0x1000, TERMINAL_ESCAPE, TERMINAL_BACKSPACE, TERMINAL_UP, TERMINAL_DOWN, TERMINAL_PAGE_UP,
	TERMINAL_PAGE_DOWN, TERMINAL_HOME, TERMINAL_END, TERMINAL_OTHER,
	TERMINAL_GONE, /* there will be no further one */
};

/* 0, or 1 after having said why. The locale is set. */
int terminal_open(void);
void terminal_close(void);
/* A blank canvas of the terminal's size. */
void terminal_size(struct canvas *c);
void terminal_paint(const struct canvas *c);
/* A key, TERMINAL_NONE after so long without one. A new size of the window is TERMINAL_OTHER. */
int terminal_key(uint64_t patience_ns);

#endif

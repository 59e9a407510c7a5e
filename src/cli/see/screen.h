/* The screen of steward top: the run above, its processes, what happened, keys. */
#ifndef STW_CLI_SEE_SCREEN_H
#define STW_CLI_SEE_SCREEN_H

#include "cli/see/canvas.h"
#include "cli/see/events.h"
#include "cli/see/heapview.h"
#include "cli/see/rows.h"

#define SCREEN_HEAD_ROWS 9 /* above the processes */
#define SCREEN_COLS 80     /* that it wants */

struct screen {
	const struct sample *before, *now;
	uint64_t ns;              /* from one to the other; since the start of the run if before is zero */
	const struct rows *rows;
	const struct rows_how *how;
	const struct events *events;
	uint64_t interval_ns;     /* asked for */
	unsigned first;           /* row on top of the table */
	bool paused;
	const char *prompt;       /* stands in place of the keys; NULL: none */
	bool help;                /* keys instead of processes */
	const struct heapview *heap; /* instead of processes; NULL: these */
	bool still;               /* for print: no events, no keys */
};

/* Draws it, with what there is room for. Returns the rows of the table that fit. */
unsigned screen_draw(struct canvas *c, const struct screen *s);

#endif

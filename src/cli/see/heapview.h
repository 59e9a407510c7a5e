/* The heap of one process, as steward top shows it in place of the processes: figures of its malloc, and a map of its memory. */
#ifndef STW_CLI_SEE_HEAPVIEW_H
#define STW_CLI_SEE_HEAPVIEW_H

#include "cli/see/canvas.h"
#include "cli/see/sample.h"

struct heapview {
	struct sample_process of;    /* pid 0: none was looked at */
	bool gone;                   /* it has ended; the rest is what was seen last */
	bool silent;                 /* it did not answer once, and is not asked again */
	struct heap_class class[HEAP_CLASSES];
	struct ask_range *cell;      /* the map: parts of its areas by address, where it is managed and says so */
	unsigned nr_cells;
};

/*
 * Looks at a process of the run, and may wait a moment for its answer. p: as it is now; NULL: it has ended, what was seen
 * last stays. 0, or 1 after having said why. l is writable.
 */
int heapview_look(struct heapview *v, struct ledger *l, const struct sample_process *p);
void heapview_free(struct heapview *v);
/* Into rows [first, end), a head above them in row first - 1. */
void heapview_draw(const struct heapview *v, struct canvas *c, unsigned first, unsigned end);
/* "heap", a bar, and what it is made of. */
void heapview_line(struct canvas *c, unsigned row, const struct heap_sum *h);

#endif

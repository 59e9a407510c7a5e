/* The state of steward top, and what keys do to it. */
#ifndef STW_CLI_SEE_TOP_H
#define STW_CLI_SEE_TOP_H

#include "cli/see/events.h"
#include "cli/see/heapview.h"
#include "cli/see/rows.h"

#define TOP_INTERVAL_LEAST 100000000u  /* 0.1 s by key */
#define TOP_INTERVAL_MOST 60000000000u /* a minute */

/* What keys are for. */
enum top_mode {
	TOP_TABLE,
	TOP_HELP,    /* any key ends it */
	TOP_HEAP,    /* of one process, instead of the table */
	TOP_FILTER,  /* the filter is being written */
	TOP_BUDGET,  /* the size of another budget is being written */
	TOP_CONFIRM, /* y, or not */
	TOP_SAID,    /* something stands in the last line; any key ends it */
};

struct top {
	uint64_t interval_ns;
	bool once, as_json;
	struct ledger *ledger;
	struct sample before, now;
	struct rows rows;
	struct rows_how how;
	struct events events;
	struct heapview heap; /* TOP_HEAP */
	unsigned first, fit;  /* row on top of the table; rows that there is room for */
	bool paused, ended, quit;
	int err;              /* of a key: 0, or an exit status after having said why */
	enum top_mode mode;
	char answer[24];      /* TOP_BUDGET */
	uint64_t asked_pages; /* TOP_CONFIRM */
	char prompt[256];     /* last line in all modes after TOP_HEAP */
};

void top_press(struct top *t, int key);
/* The newest figures of the process whose heap is shown. */
void top_look_at_heap(struct top *t);
/* Goes through the processes, as far as there are some. */
void top_scroll(struct top *t, int64_t by);

#endif

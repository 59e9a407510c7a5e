/* The budget of a run that goes on: what is asked for in the ledger is done. */
#ifndef STW_CLI_RUN_RESIZE_H
#define STW_CLI_RUN_RESIZE_H

#include "live/ledger.h"

/* How far a budget can be raised while processes run: they reserve address space for it when they start. */
#define RESIZE_TIMES 4

/* The most pages that a budget of ram_pages may become: RESIZE_TIMES as many, but not more than the machine has, if it has so many. */
uint64_t resize_max(uint64_t ram_pages);

struct resize {
	struct ledger *ledger;
	uint64_t progress_ns; /* when the budget last came nearer to what is asked, 0: nothing is */
};

void resize_init(struct resize *r, struct ledger *l);

/* Works at ledger->ram_asked, which becomes 0 when it is reached or given up. */
void resize_tick(struct resize *r, uint64_t now_ns);

#endif

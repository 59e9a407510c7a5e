/* Asking a run for another budget: what steward set and the key of steward top have in common. */
#ifndef STW_CLI_SET_H
#define STW_CLI_SET_H

#include "live/ledger.h"

struct set_refusal {
	const char *what; /* NULL: the run can be asked */
	char why[160];
};

/* Can the run be asked for so many pages? */
void set_check(const struct ledger *l, uint64_t pages, struct set_refusal *r);

#endif

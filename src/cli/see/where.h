/*
 * Where the pages of a process are, area by area. The kernel knows which areas there are and what of them is mapped; where the
 * rest is only the process knows, and is asked for areas that it may manage, if it manages any.
 */
#ifndef STW_CLI_SEE_WHERE_H
#define STW_CLI_SEE_WHERE_H

#include "cli/procmaps.h"
#include "cli/see/question.h"

struct where {
	struct proc_map map;
	enum ledger_state state;
	struct ask_range *said; /* parts of areas; zeros where the process was not asked */
	unsigned *first;        /* said[first[i]] to said[first[i + 1] - 1] are the parts of area i */
	struct ask head;        /* of the answer, without its ranges */
	bool answered;          /* false: it should have, and has not */
};

/* Anonymous private memory: the rest is never Steward's to manage. */
bool where_may_be_managed(const struct proc_area *a);

/*
 * parts: into about so many what may be managed is cut, so that one sees where in them; 0: areas stay whole. 0; -ENOMEM, or
 * -errno of proc_map_open. l is writable.
 */
int where_read(struct where *w, struct ledger *l, unsigned slot, unsigned pid, unsigned parts);
void where_free(struct where *w);

#endif

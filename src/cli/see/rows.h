/* The processes of a run as rows of a table: with what they did since the sample before, filtered, sorted, or as a tree. */
#ifndef STW_CLI_SEE_ROWS_H
#define STW_CLI_SEE_ROWS_H

#include "cli/see/sample.h"

enum rows_sort { SORT_STALL, SORT_MAJOR, SORT_RESIDENT, SORT_SWAPPED, SORT_PID, NR_SORTS };

struct row {
	const struct sample_process *p;
	uint64_t rise[VM_COUNTER_NR]; /* of its counters since the sample before; since its start if it is new */
	uint64_t ns;                  /* time that they are of */
	unsigned depth;               /* in the tree */
};

struct rows_how {
	enum rows_sort sort;
	bool reverse;
	bool tree;                    /* children below their parents, each family sorted */
	char filter[16];              /* part of the command's name, or of the pid; empty: all */
};

struct rows {
	struct row *row;
	unsigned nr;
};

/* r: zero, or from before. before may be zero: then rises are since the start. 0, or 1 after having said why. */
int rows_make(struct rows *r, const struct sample *before, const struct sample *now, const struct rows_how *how);
void rows_free(struct rows *r);
/* "stall", "major" … */
const char *rows_sort_name(enum rows_sort sort);

#endif

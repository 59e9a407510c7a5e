/* What processes that fit and do nothing have of the budget beyond what they use is lent to those that are short. */
#ifndef STW_CLI_RUN_LEND_H
#define STW_CLI_RUN_LEND_H

#include "live/ledger.h"

struct lend {
	struct ledger *ledger;
	int (*untouched)(int32_t pid, uint64_t largest, uint64_t *pages); /* procmem_read_untouched */
	/* By slot: what is known of a NATIVE process. Only what was once used is touched. */
	struct lend_process {
		int32_t pid;         /* with start_time who it is; 0: nothing is known */
		uint64_t start_time;
		uint64_t faults;     /* at the last look */
		uint64_t since;      /* ns: since when there were no more */
		uint64_t kept;       /* pages: its grant since something was lent of it; 0: nothing was */
		uint64_t risk;       /* pages that it could touch all the same */
	} process[LEDGER_SLOTS];
};

/*
 * A look at the NATIVE process of slot i. faults: its page faults so far; part: pages that it has in memory, what it shares divided; now:
 * monotonic ns. Supervisor, some times a second.
 */
void lend_look(struct lend *d, unsigned i, uint64_t faults, uint64_t part, uint64_t now);
/* The process of slot i has ended, or has an engine: what was lent of it is nobody's any more, or has been asked for. */
void lend_forget(struct lend *d, unsigned i);

#endif

/*
 * What is to be seen of a run at one moment, copied out of its ledger and /proc: what ps, stat and top show. Rates
 * are differences of two samples.
 */
#ifndef STW_CLI_SEE_SAMPLE_H
#define STW_CLI_SEE_SAMPLE_H

#include "cli/runs.h"

struct sample_process {
	int32_t pid;
	int32_t parent;
	enum ledger_state state;
	char comm[16];                   /* the kernel's: what it is called now */
	uint64_t start;                  /* with pid: who it is */
	uint64_t age_ns;
	uint64_t granted;                /* pages, as all below */
	struct ledger_usage use;
	uint64_t counter[VM_COUNTER_NR];
};

struct sample {
	uint64_t ns;                     /* CLOCK_MONOTONIC */
	uint64_t age_ns;                 /* of the run */
	int32_t launcher;
	bool watched;                    /* the launcher lives */
	char command[64];
	uint64_t ram, reserved, free;    /* pages: the budget, the launcher's part, what nobody has */
	struct ledger_usage use;         /* of all processes */
	uint64_t counter[VM_COUNTER_NR]; /* of all, those that have ended included */
	struct hist fault_ns;            /* the same */
	struct sample_process *process;  /* those that live, by pid */
	unsigned nr;
};

/* Takes one, in memory that s may have from an earlier one (zero at first). Returns 0, or 1 after having said why. */
int sample_take(struct sample *s, const struct ledger *l);
void sample_free(struct sample *s);

/* What the program itself has in memory: everything but the pool and Steward's tables. Pages. */
static inline uint64_t sample_resident(const struct ledger_usage *u)
{
	return u->managed + u->unmanaged;
}

/* "native", "armed", "engaged", "stopped" */
const char *sample_state(enum ledger_state state);

#endif

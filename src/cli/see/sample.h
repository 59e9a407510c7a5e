/*
 * What is to be seen of a run at one moment, copied out of its ledger and /proc: what ps, stat and top show. Rates
 * are differences of two samples.
 */
#ifndef STW_CLI_SEE_SAMPLE_H
#define STW_CLI_SEE_SAMPLE_H

#include "cli/runs.h"
#include "cli/see/heapsum.h"

struct sample_process {
	int32_t pid;
	int32_t parent;
	enum ledger_state state;
	char comm[16];                   /* the kernel's: what it is called now */
	uint64_t start;                  /* with pid: who it is */
	uint64_t age_ns;
	uint64_t granted;                /* pages, as all below */
	struct ledger_usage use;
	struct ledger_frames frames;     /* zero unless it is engaged */
	struct heap_sum heap;            /* bytes */
	uint64_t counter[VM_COUNTER_NR];
};

/* A swap area of the run, as its living processes have it together. */
struct sample_area {
	char name[64];                   /* "pool", "file:/tmp"; no two the same */
	bool pool;
	uint64_t used;                   /* pages */
	uint64_t errors;
	enum swap_state state;           /* the worst that it is in for one of them */
};

struct sample {
	uint64_t ns;                     /* CLOCK_MONOTONIC */
	uint64_t age_ns;                 /* of the run */
	int32_t launcher;
	bool watched;                    /* the launcher lives */
	char command[64];
	uint64_t ram, reserved, left, uncounted, free; /* pages: the budget, parts of the launcher, of the page cache, of what no process counts, what nobody has */
	uint64_t asked;                  /* budget that somebody has asked for and that is not reached or given up; 0: none */
	struct ledger_usage use;         /* of all processes */
	struct ledger_frames frames;     /* the same */
	struct heap_sum heap;            /* the same, in bytes */
	uint64_t counter[VM_COUNTER_NR]; /* of all, those that have ended included */
	struct hist fault_ns;            /* the same */
	struct sample_area area[SWAP_SPECS]; /* the first to be used first */
	unsigned nr_areas;
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

/* By how much a counter of them rose from one sample to the next; 0 if a process ended in the moment in between. */
static inline uint64_t sample_rise(const uint64_t *before, const uint64_t *now, enum vm_counter c)
{
	return now[c] > before[c] ? now[c] - before[c] : 0;
}

/* n in ns, as so many a second. */
static inline uint64_t sample_rate(uint64_t n, uint64_t ns)
{
	return ns > 0 ? (uint64_t)(((unsigned __int128)n * 1000000000 + ns / 2) / ns) : 0;
}

/* "native", "armed", "engaged", "stopped" */
const char *sample_state(enum ledger_state state);

#endif

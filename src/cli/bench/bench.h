/*
 * steward bench: what paging costs here, with the kernel's swap and with Steward.
 *
 * bench.c   the command: sides and their order, the table
 * side.c    one side: the touches in a process of their own
 * touch.c   the program that touches
 */
#ifndef STW_CLI_BENCH_H
#define STW_CLI_BENCH_H

#include "base/types.h"

#define BENCH_ROWS 16
#define BENCH_SIZE_MIN (UINT64_C(4) << 20)

/* What a workload took, ns. */
struct bench_row {
	char name[24];
	double touch_ns;        /* a touch in the mean, by the wall clock */
	uint64_t p50_ns, p99_ns; /* of the touches that faulted; 0: there were none */
};

struct bench_side {
	bool measured;
	char why[300];          /* not measured: why, one line */
	struct bench_row row[BENCH_ROWS];
	unsigned nr;
};

/* --only: are these workloads, separated by commas? 0, or EXIT_USAGE after having said why. */
int bench_check_list(const char *list);
/* Fills the memory, makes n touches for each workload of the list, verifies all bytes; JSON on stdout. 0, or 1 after having said why. */
int bench_touch(uint64_t bytes, uint64_t n, const char *list);

/*
 * Runs the command, which ends in a bench_touch, and takes its figures. procs: a cgroup.procs that it enters first, or -1.
 * What goes wrong is in side->why.
 */
void bench_run(struct bench_side *side, char *const *argv, int procs);

#endif

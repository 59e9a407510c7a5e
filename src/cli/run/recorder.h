/*
 * steward run --record: the launcher writes down how the run goes, into a ring on disk (cli/flight/flight.h).
 *
 * recorder.c       the file, and a thread that takes samples
 * recorder_maps.c  a thread that asks where pages are
 * recorder_oom.c   what the OOM killer decides
 */
#ifndef STW_CLI_RUN_RECORDER_H
#define STW_CLI_RUN_RECORDER_H

#include "cli/flight/flight.h"
#include "cli/run/summary.h"
#include "mm/reclaim/oom.h"

#define RECORDER_PAGES 96 /* that the threads take: stacks, samples, maps, the block being written */

struct recorder_options {
	char *path;          /* NULL: nothing is recorded */
	uint64_t max_bytes;  /* of the file */
};

/* Of --record: FILE, or FILE,max=SIZE. 0, or EXIT_USAGE after having said why. */
int recorder_set(struct recorder_options *o, const char *text);
/* The file is there from now on. 0, or an exit status after having said why. */
int recorder_open(const struct recorder_options *o, struct ledger *l, char **argv, const char *budget_from);
/* From now on samples are taken. Nothing if no file is open, as with the two below. */
void recorder_start(void);
/* The last one is taken. */
void recorder_stop(void);
/* The end: what the summary says. */
void recorder_close(const struct summary *s);
/* Nothing was run: there is no recording. */
void recorder_drop(void);

/* Who was looked at and who was chosen for want of what. For the supervisor; nothing if nothing is recorded. */
void recorder_oom(const char *what, const struct oom_scan *scan, const struct oom_task *rows, unsigned n);

/* --- between the three --- */

/* A block is begun, by one thread at a time: the bytes that its payload is put into. NULL: nothing is recorded. */
struct flight_bytes *recorder_begin(void);
/* And written, as of the moment ns of CLOCK_MONOTONIC; 0: now. */
void recorder_end(enum flight_kind kind, uint64_t ns);

void recorder_maps_start(struct ledger *l);
void recorder_maps_stop(void);

#endif

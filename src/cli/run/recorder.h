/* steward run --record: a thread of the launcher writes down how the run goes, into a ring on disk (cli/flight/flight.h). */
#ifndef STW_CLI_RUN_RECORDER_H
#define STW_CLI_RUN_RECORDER_H

#include "cli/run/summary.h"

#define RECORDER_PAGES 64 /* that the thread takes: stack, samples, the block being written */

struct recorder_options {
	char *path;          /* NULL: nothing is recorded */
	uint64_t max_bytes;  /* of the file */
};

/* Of --record: FILE, or FILE,max=SIZE. 0, or EXIT_USAGE after having said why. */
int recorder_set(struct recorder_options *o, const char *text);
/* The file is there from now on. 0, or an exit status after having said why. */
int recorder_open(const struct recorder_options *o, const struct ledger *l, char **argv, const char *budget_from);
/* From now on samples are taken. Nothing if no file is open, as with the two below. */
void recorder_start(void);
/* The last one is taken. */
void recorder_stop(void);
/* The end: what the summary says. */
void recorder_close(const struct summary *s);
/* Nothing was run: there is no recording. */
void recorder_drop(void);

#endif

/* Recording by samples: the live engine, inside the program, says which pages it touches in each interval. */
#ifndef STW_CLI_RECORD_SAMPLED_H
#define STW_CLI_RECORD_SAMPLED_H

#include "cli/record/recording.h"
#include "cli/run/supervise.h"

#define INTERVAL_MS 100

/*
 * Runs argv until it ends, sampled every interval_ms; r gets the events. 0 with *out filled, or an exit status after
 * having said why the command could not be started. Errors of recording are in r->err; the command runs to its end all
 * the same. Once a process.
 */
int sampled_record(const struct program *p, char **argv, unsigned interval_ms, struct recording *r,
		   struct outcome *out);

#endif

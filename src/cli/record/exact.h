/* Recording every touch: the command runs under valgrind. */
#ifndef STW_CLI_RECORD_EXACT_H
#define STW_CLI_RECORD_EXACT_H

#include "cli/record/recording.h"
#include "cli/run/supervise.h"

/* Is valgrind here, and the command? 0, or the exit status after having said why. */
int exact_find(const char *command, struct program *valgrind);
/*
 * Runs argv under it until it ends; r gets the events. 0 with *out filled, or an exit status after having said why the
 * command could not be started. Errors of recording are in r->err; the command runs to its end all the same.
 */
int exact_record(const struct program *valgrind, char **argv, struct recording *r, struct outcome *out);

#endif

/* The machine that a command is about: --machine and --set. */
#ifndef STW_CLI_MACHINE_FILE_H
#define STW_CLI_MACHINE_FILE_H

#include "sim/config.h"

/*
 * Fills *c with the default machine, what the file (NULL: none) says, and then the changes ("vm.swappiness=10"), and
 * checks it. Returns 0, or the exit status after having said why: "FILE:12: …" is what to correct.
 */
int machine_load(struct sim_config *c, const char *file, const char *const *sets, unsigned nr_sets);

#endif

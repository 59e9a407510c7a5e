/* What commands that simulate have in common: the machine that the options describe, and traces replayed on it. */
#ifndef STW_CLI_SIM_ARGS_H
#define STW_CLI_SIM_ARGS_H

#include "cli/sim/steps.h"

#define SIMARGS_SETS_MAX 64

/* The first rows of their options. */
enum { SIMARGS_MACHINE, SIMARGS_SET, SIMARGS_POLICY, SIMARGS_ROWS };

#define SIMARGS_OPTIONS \
	[SIMARGS_MACHINE] = { "machine", 'm', "FILE", "the machine (default: a laptop of 8 GiB)" }, \
	[SIMARGS_SET] = { "set", 's', "KEY=VALUE", "change a key of the machine, as in memory.limit=512M" }, \
	[SIMARGS_POLICY] = { "policy", 'p', "NAME", "replacement policy; an unknown one lists them" }

struct simargs {
	const char *machine, *policy; /* NULL: none given */
	const char *set[SIMARGS_SETS_MAX];
	unsigned nr_sets;
};

/* Takes the value of one of these rows. 0, or the exit status after having said why. */
int simargs_option(struct simargs *a, unsigned row, const char *value);
/* The machine: its file, the changes, the policy. 0, or the exit status after having said why. */
int simargs_config(const struct simargs *a, struct sim_config *c);
/* Before a replay: a policy that knows what comes reads the trace. 0, or the exit status after having said why. */
int simargs_foresee(struct sim *s, char **traces, unsigned n);
/* n ≤ SIM_SOURCES_MAX traces, side by side; the first steps->max events of one are told. 0, or the exit status after having said why. */
int simargs_replay(struct sim *s, char **traces, unsigned n, struct steps *steps);

#endif

/*
 * steward validate --live: the same sequence of touches under steward run and on a machine that works as it does.
 *
 * live.c       the command: which cases, what is measured once, the table
 * live_run.c   one run of the live engine
 * live_touch.c the program that touches inside of it
 * live_model.c one run on the modelled machine
 */
#ifndef STW_CLI_VALIDATE_LIVE_H
#define STW_CLI_VALIDATE_LIVE_H

#include "cli/validate/validate.h"

#define LIVE_TOUCHES 500000u

/* What a run that is in no case has shown: none of it can be known from the sequence. */
struct live_costs {
	uint64_t launcher, unmanaged; /* pages of the budget that the launcher has, and the program outside of what is managed */
	uint64_t besides;             /* pages that count before the engine is engaged, besides the workload's and unmanaged */
	double ratio;                 /* pages in a frame of the pool */
};

struct live_args {
	unsigned runs;
	const char *only, *json; /* NULL: all, none */
	bool quick;              /* the larger budget only */
};

/* 0 or an exit status after having said why. */
int live_main(const struct live_args *o);
/* The program that a run runs: says LIVE_BESIDES as JSON, touches the pages of a workload, says LIVE_FILES, those in use then. */
#define LIVE_BESIDES "besides_bytes"
#define LIVE_FILES "files_bytes"
int live_touch(const char *workload);

/*
 * One run within ram_bytes, whole MiB. costs, if not NULL, gets what it shows. 0, -ECHILD (it failed) or -errno.
 */
int live_run(const char *workload, uint64_t ram_bytes, struct validate_outcome *out, struct live_costs *costs);

enum { LIVE_FIRST, LIVE_LAST, LIVE_WAYS };

/* What the budget leaves for frames. */
uint64_t live_frames(uint64_t ram_bytes, const struct live_costs *costs);
/* On a machine of so many frames, both ways of kswapd (cpu.kswapd), in this order. 0 or -ENOMEM. */
int live_model(const struct validate_sequence *s, uint64_t ram_bytes, const struct live_costs *costs, uint64_t frames,
	       struct validate_outcome *out);

#endif

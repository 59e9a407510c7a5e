/*
 * steward validate: the same sequence of touches for real, under a kernel's limit, and on the model.
 *
 * validate.c        the command: which cases, how often, what to say of them
 * validate_real.c   one run on this machine, in a cage (memcage.h) with swap on zram (zramguard.h)
 * validate_model.c  one run on the modelled machine
 * validate_program.c  the same for a program and its trace
 * validate_show.c   the table, the reasons for what misses, JSON
 *
 * With --live it is the live engine instead of the kernel: live.h.
 */
#ifndef STW_CLI_VALIDATE_VALIDATE_H
#define STW_CLI_VALIDATE_VALIDATE_H

#include "cli/validate/memcage.h"
#include "sim/config.h"
#include "sim/workload.h"

#define VALIDATE_RUNS_MAX 64
#define VALIDATE_PHASES_MAX 16

/* A sequence, in memory that processes share. */
struct validate_sequence {
	const uint32_t *page;
	uint64_t n;
	uint32_t pages;    /* of the range */
};

#define VALIDATE_PAGES 32768u /* of every workload's range: 128 MiB */

/* n touches of a workload; 0, or an exit status after having said why. */
int validate_fill(struct validate_sequence *s, const char *workload, uint32_t pages, uint64_t n);
void validate_drop(struct validate_sequence *s);
/* Is the name one of the list's, which has commas between? */
bool validate_listed(const char *list, const char *name);

/* How one run went, real or modelled. */
struct validate_outcome {
	uint64_t majflt, minflt;
	uint64_t touches;  /* done */
	uint64_t polls;    /* real: how often the statistics were read */
	double seconds;
	bool killed;       /* by the OOM killer, or the model's */
	uint64_t kernel_bytes; /* real: charged for tables and the like when it was over; of a program: at most */
	uint64_t peak_bytes;   /* real, of a program: charged at most */
	uint64_t faults, stalls, frames; /* live: all faults, those that waited for kswapd, frames in the mean of them */
	char why[400];     /* model: what the OOM killer said */
};

struct validate_place {
	struct memcage_root root;
	char prefix[64];       /* of the names of cages */
	uint64_t limit_bytes;
	unsigned swappiness;
};

/*
 * poll_ns: memory.stat is read so often meanwhile, 0: never. 0 or -errno; *why: what could not be done (static text).
 * -EINTR: interrupted, the run is ended.
 */
int validate_real(const struct validate_place *p, const struct validate_sequence *s, uint64_t poll_ns,
		  struct validate_outcome *out, const char **why);

/* A command instead, its standard output dropped. -ECHILD: it failed. */
int validate_real_program(const struct validate_place *p, char *const *argv, uint64_t poll_ns, struct validate_outcome *out,
			  const char **why);

/* What things take here: from two real runs (validate.c). */
struct validate_costs {
	double touch_ns;       /* of a page that is there */
	double fault_ns;       /* a major fault with its share of reclaim */
	uint64_t kernel_bytes; /* that the group is charged for tables and the like when the whole range has been touched */
};

/* A machine as this one under the limit, for a range of so many pages: one CPU, zram, the kernel's rules. */
void validate_machine(struct sim_config *c, const struct validate_place *p, const struct validate_costs *costs,
		      uint32_t pages);
/* phase_ns: how long before the start the statistics were brought up to date. 0 or -ENOMEM. */
int validate_model(const struct sim_config *c, const struct validate_sequence *s, uint64_t phase_ns,
		   struct validate_outcome *out);

/* What is measured, and how it came out. */
struct validate_case {
	const char *workload;
	uint32_t thousands;  /* of touches */
	bool polled;         /* memory.stat is read all the time */
	double target;       /* per cent that the model's median may be off; 0: reported only */
	/* Filled in by the command. */
	unsigned nr_real, nr_model;
	uint64_t limit_bytes; /* of a program's run; 0: validate_place's */
	uint64_t poll_ns;    /* polled: how often that was in fact, in the median */
	struct validate_outcome real[VALIDATE_RUNS_MAX], model[VALIDATE_PHASES_MAX];
};

struct validate_spread {
	unsigned n, killed; /* of n more, killed */
	uint64_t min, median, max;
};

/* Of the major faults of those that were not killed. */
struct validate_spread validate_spread(const struct validate_outcome *o, unsigned n);
/* The statistics were read so often, in the median of the runs. */
uint64_t validate_polled_every(const struct validate_case *c);
/* Per cent that the model's median is off the kernel's; 0 if one of them has none. */
double validate_error(const struct validate_case *c);
/* Real runs that a model's run equals: the same number of major faults, or killed at the same touch. */
unsigned validate_exact(const struct validate_case *c);
/* Within its target, or without one; or killed in every run, as predicted for every one. */
bool validate_holds(const struct validate_case *c);

#define VALIDATE_SHARES 6 /* 75, 50 and 25 per cent of what a program takes, with statistics read all the time and as they are */
#define VALIDATE_POLL_NS UINT64_C(5000000)

/*
 * The command under shares of its footprint, and its trace on the model: fills and shows the cases. 0, or an exit
 * status after having said why.
 */
int validate_program(const char *trace, char *const *argv, const struct validate_place *place,
		     const struct validate_costs *costs, struct validate_case *cases, unsigned runs);

/* min, median, max and killed, in columns. */
void validate_show_spread(const struct validate_outcome *o, unsigned n);
struct json;
/* The runs as an array under key. */
void validate_put_outcomes(struct json *j, const char *key, const struct validate_outcome *o, unsigned n);

void validate_show_head(void);
void validate_show(const struct validate_case *c);
/* 0 or an exit status after having said why. */
int validate_json(const char *file, const struct validate_case *cases, unsigned n, const struct validate_place *p,
		  const struct validate_costs *costs);

#endif

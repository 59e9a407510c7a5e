/* steward explain: what its topics share. A topic is one file and one row in explain.c. */
#ifndef STW_CLI_EXPLAIN_EXPLAIN_H
#define STW_CLI_EXPLAIN_EXPLAIN_H

#include "mm/space/layout.h"
#include "sim/config.h"

/* The rows of explain's options, in their order. */
enum explain_option { EXPLAIN_MACHINE, EXPLAIN_SET, EXPLAIN_SEED, EXPLAIN_FIXED, EXPLAIN_PAGES, EXPLAIN_SPREAD,
		      EXPLAIN_SLABS, EXPLAIN_REPORT };

enum explain_spread { SPREAD_PROGRAM, SPREAD_DENSE, SPREAD_RANDOM, NR_SPREADS };

struct explain_args {
	const char *const *operands; /* up to NULL */
	struct sim_config machine;   /* as asked for, or the default one */
	bool has_machine;            /* --machine or --set was given */
	bool fixed;
	bool has_pages;
	bool slabs;
	const char *report;          /* a file; NULL: none */
	enum explain_spread spread;
	uint64_t seed;               /* the machine's, unless given */
	uint64_t pages;
};

struct explain_topic {
	const char *name;
	const char *usage;           /* what comes behind the name */
	const char *summary;
	unsigned takes;              /* a bit for each enum explain_option */
	unsigned operands;           /* at most */
	/* Without --machine: "key=value" up to NULL, before those of --set; NULL: the default machine. */
	const char *const *machine;
	int (*main)(const struct explain_args *a); /* exit status, after having said why */
};

/* The programs of a machine: 32-bit ones if its page tables do not reach further. */
enum layout_kind explain_layout_kind(const struct sim_config *c);

extern const struct explain_topic explain_alloc, explain_fault, explain_keys, explain_layout, explain_machine,
	explain_reclaim, explain_tables, explain_walk, explain_watermarks;

#endif

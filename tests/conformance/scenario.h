/*
 * Scenarios that both engines go through: lists of steps on numbered regions of memory. What a step shows of contents is
 * a line of text, the same wherever it ran.
 */
#ifndef CONFORMANCE_SCENARIO_H
#define CONFORMANCE_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

enum { REGIONS = 4, STEPS_MAX = 16, REGION_PAGES_MAX = 16384 };

enum step_op {
	DO_END,
	DO_MAP,        /* the region is fresh private memory of n pages */
	DO_UNMAP,      /* pages [from, from + n) of it are gone */
	DO_WRITE,      /* each page is written as a whole, in scattered order */
	DO_WRITE_ROW,  /* … in the order of addresses */
	DO_READ,       /* each page is read: a line */
	DO_READ_ROW,
	DO_TRY_WRITE,  /* the first word of each page is written with its own value, which may be refused: a line */
	DO_TRY_READ,
	DO_READ_ONLY,  /* mprotect */
	DO_NO_ACCESS,
	DO_READ_WRITE,
	DO_DROP,       /* MADV_DONTNEED */
	DO_FORK,       /* a child does the steps up to DO_JOIN, then the parent goes on behind it */
	DO_JOIN,
};

struct step {
	uint8_t op, region;
	uint32_t from, n;
};

struct scenario {
	const char *name;
	struct step step[STEPS_MAX];
};

extern const struct scenario scenarios[];
extern const unsigned nr_scenarios;

/* NULL: there is none. */
const struct scenario *scenario_find(const char *name);

/* What an engine does. ctx is the runner's. */
struct engine_ops {
	void (*map)(void *ctx, unsigned region, uint32_t n);
	void (*unmap)(void *ctx, unsigned region, uint32_t from, uint32_t n);
	void (*protect)(void *ctx, unsigned region, uint32_t from, uint32_t n, bool read, bool write);
	void (*drop)(void *ctx, unsigned region, uint32_t from, uint32_t n);
	/* One page from or to buf. False: the access was refused. */
	bool (*read)(void *ctx, unsigned region, uint32_t page, void *buf);
	bool (*write)(void *ctx, unsigned region, uint32_t page, const void *buf);
	/* True in the child; where both are one process, what follows is the child's until join. */
	bool (*fork)(void *ctx);
	/* The child ends here, and the parent waits for it. Returns in the parent. */
	void (*join)(void *ctx);
};

/* Does the steps; lines go to stdout. */
void scenario_run(const struct scenario *s, const struct engine_ops *ops, void *ctx);

#endif

/*
 * Replacement policies: which page shall go. A policy chooses and never changes the map: it keeps pages on its lists
 * (struct lruvec) and hands out those that should leave; unmapping, writing and freeing are reclaim's.
 *
 * The same policy serves both kinds of engine:
 *
 *   with accessed bits     what choose() hands out is evicted. It asks frame_referenced() as it goes.
 *   without                what choose() hands out is unmapped and put on the sample. A touch there comes back as
 *                          arrive(SOFT); what reaches the old end of the sample is evicted. frame_referenced() knows
 *                          of no touch, because a page that was touched is not there any more.
 *
 * Adding one: a file in policy/ and a row in policy.c.
 */
#ifndef STW_MM_RECLAIM_POLICY_H
#define STW_MM_RECLAIM_POLICY_H

#include "mm/reclaim/lru.h"

/* Why a page, unlisted, comes to the policy. */
enum lru_arrival {
	ARRIVE_NEW,     /* first touch, or back after it was away for long */
	ARRIVE_REFAULT, /* back so soon that it would have stayed had the active list been as long as it is */
	ARRIVE_SOFT,    /* touched while on the sample */
	ARRIVE_BACK,    /* chosen, but it could not leave */
};

#define DEF_PRIORITY 12     /* a pass looks at 1 / 2^12 of the lists first (Linux mm/vmscan.c) */
#define SWAP_CLUSTER_MAX 32 /* pages in one step, and the target of direct reclaim */

/* One pass over a node's lists. */
struct scan {
	uint8_t priority;   /* DEF_PRIORITY … 0: 2^-priority of each list is looked at */
	bool may_swap;      /* there is room for anonymous pages */
	bool global;        /* for the machine, not for a limit */
	bool proportional;  /* the whole share of each list is looked at, however much has come of it (first pass of direct reclaim) */
	bool force;         /* active pages must give, whatever the rules say: the last try */
	bool done;          /* out: the policy has nothing more to offer in this pass */
	bool skipped;       /* out: it would have, by force */
	uint32_t target;    /* pages wanted */
	uint32_t scanned, reclaimed;
	/* The policy's: pages to look at yet, and at first, of each list; where it is. */
	uint64_t nr[NR_POLICY_LRU], wanted[NR_POLICY_LRU];
	uint32_t flags, turn, kept;
	uint32_t before;    /* reclaimed by earlier passes */
};

/* What came of the pages that choose() handed out last: those that are not gone have arrived again. */
struct scan_result {
	unsigned chosen, reclaimed, written;
	bool file;
};

struct policy {
	const char *name;
	const char *text;      /* one line, for the help */
	bool sampled;          /* makes sense without accessed bits: the live engine can run it */
	bool every_touch;      /* wants touch() for every single access: a yardstick, not a policy for a machine */
	bool foresight;        /* … and machine.next_use */
	/* machine: for policies that need memory of their own; may be NULL. 0 or -ENOMEM. */
	int (*init)(struct machine *m, struct lruvec *v);
	/* Gives it back. May be NULL. */
	void (*destroy)(struct machine *m, struct lruvec *v);
	/* Puts the page on a list. */
	void (*arrive)(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how);
	/* Takes up to n pages, all with a disk behind them (frame_on_disk) or none, off the lists; they are to leave. 0: see s->done. Counts s->scanned. */
	unsigned (*choose)(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n);
	/* A pass begins: sets s->nr. May be NULL. */
	void (*begin)(struct machine *m, struct lruvec *v, struct scan *s);
	/* May be NULL. */
	void (*result)(struct machine *m, struct lruvec *v, struct scan *s, const struct scan_result *r);
	/* Reclaim has got what it wanted, or has given up, after one pass or several. May be NULL. */
	void (*end)(struct machine *m, struct lruvec *v);
	/* Refaults within so many evictions and activations are hot; NULL: none is. file: of a page of a file. */
	uint64_t (*workingset)(const struct machine *m, const struct lruvec *v, bool file);
	/* every_touch: the page on a list is touched. */
	void (*touch)(struct machine *m, struct lruvec *v, struct frame *f);
};

/* By name; NULL: there is none. */
const struct policy *policy_find(const char *name);
/* Prepares m->policy, which has just been set and has no pages yet, for every node. 0 or -ENOMEM. */
int policy_init(struct machine *m);
void policy_destroy(struct machine *m);
/* The nth of the table; NULL behind the last. */
const struct policy *policy_nth(unsigned n);

extern const struct policy policy_second_chance, policy_two_list, policy_clock, policy_mglru, policy_s3fifo, policy_random,
	policy_fifo, policy_lru, policy_opt;

#endif

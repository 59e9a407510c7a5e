/* How much of memory the compressed pool may take where pages can go on to an area below it: see poolshare.c. */
#ifndef STW_MM_RECLAIM_POOLSHARE_H
#define STW_MM_RECLAIM_POOLSHARE_H

#include "mm/backing/swap.h"

struct machine;

#define POOLSHARE_MAX 850 /* thousandths; also where pages have no other place to go to */

/* Pages, if nothing else is said. */
struct poolshare_events {
	uint64_t near, tail, demoted; /* poolshare.c says what they are */
	uint64_t faults, pages; /* major faults, and the pages that they brought */
	uint64_t ns;
};

struct poolshare {
	uint32_t share;      /* of the frames, in thousandths */
	uint32_t patience;   /* looks between a step down and the next one */
	uint32_t wait_looks; /* of them, still to come */
	uint64_t tried;      /* what the program would gain a second by the last step down; ns a thousand frames */
	uint32_t settle;     /* looks that do not count what comes back from below, still to come */
	bool down;           /* the last step was one down, and what it passed on says what the next would cost … */
	uint64_t passed_on;  /* … pages, … */
	uint64_t back;       /* … and of them those that were wanted at once */
	uint32_t depth;      /* age at which pages are passed on, in buckets (workingset.c); a mean */
	uint32_t depth_sum;  /* 64 times that */
	uint64_t wait_ns;    /* for a page from an area below; a mean */
	uint32_t age_sum;    /* 256 times the mean age of what comes back from the pool, in buckets */
	uint32_t seen, cold; /* pages in the pool that the hand came by lately, and of them the cold ones */
	uint32_t below, deeper; /* the same below it, and of them those that a deeper pool would have */
	struct poolshare_events events, lately; /* since the last look; the looks before, older ones less */
	/* At the last look. */
	uint64_t since, age, frames, faults, pages;
};

void poolshare_init(struct machine *m);
/*
 * A page comes back from the slot. True: it is promoted, and keeps no copy in the slot's area, which is below the pool.
 */
bool poolshare_refault(struct machine *m, swp_t entry);
/* The hand of workingset.c comes by a slot of the pool, or of an area below it, with a page of that age. */
void poolshare_seen(struct machine *m, uint32_t age);
void poolshare_seen_below(struct machine *m, const struct swap_slot *slot, uint32_t age);
/* A page of that age has been passed on from the pool. */
void poolshare_demoted(struct machine *m, uint32_t age);
/* Somebody waited that long until so many pages, at least one, were read from areas below the pool. */
void poolshare_waited(struct machine *m, uint64_t ns, unsigned pages);
/* To be asked several times a second, with the lock held: how many of these frames the pool may have. now: monotonic, ns. */
uint64_t poolshare_limit(struct machine *m, uint64_t frames, uint64_t now);

#endif

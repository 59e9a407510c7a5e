/* How memory comes back: see reclaim.c. */
#ifndef STW_MM_RECLAIM_RECLAIM_H
#define STW_MM_RECLAIM_RECLAIM_H

#include "mm/machine.h"

/*
 * One step: unmaps a batch of pages as the sample if the sample is short, and
 * evicts a batch from its old end. Gives the lock up inside. Returns frames
 * freed; *progress is set if anything was done at all. Must not be entered
 * while m->reclaiming.
 */
unsigned reclaim_batch(struct machine *m, bool kswapd, bool *progress);

/*
 * Takes up to n pages, 32 at most, off the old end of list, NEW or ACTIVE, whatever the length of the sample: they
 * become soft. Returns how many were taken. Gives the lock up inside. Not while m->reclaiming.
 */
unsigned reclaim_sample(struct machine *m, enum lru_list list, unsigned n);

/* Pages that reclaim_batch has left with the helper of swap are written. Gives the lock up inside. */
void reclaim_finish(struct machine *m);

/* demote.c: the first area is short of room, and there is one below it. */
bool demote_wanted(const struct machine *m);
/* Passes a batch of old pages on from the first area to those below. Returns how many. Not while m->reclaiming. */
unsigned demote_batch(struct machine *m);

/*
 * kswapd's work: while free frames are below HIGH, reclaim_batch. Returns 0 when balanced,
 * -ENOMEM after KSWAPD_FAILURES steps without progress (Linux: MAX_RECLAIM_RETRIES).
 * stop (may be NULL) is asked between steps.
 */
int kswapd_balance(struct machine *m, unsigned node, bool (*stop)(void *ctx), void *ctx);

/* workingset.c (mm/workingset.c): what eviction leaves in the slot, and what refault makes of it. */
uint8_t workingset_shadow(struct lru *l);
/* How long ago that was, in units of a 64th of resident memory; wraps. */
uint8_t workingset_age(const struct lru *l, uint8_t shadow);
/* True: the page was evicted so recently that it would have stayed had the active list been as long as it is. */
bool workingset_refault(struct lru *l, uint8_t shadow);

#endif

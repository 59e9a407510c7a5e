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
 * Takes up to n pages, 32 at most, off the old end of a list of the policy, whatever the length of the sample: they
 * become soft. Returns how many were taken. Gives the lock up inside. Not while m->reclaiming.
 */
unsigned reclaim_sample(struct machine *m, enum lru_list list, unsigned n);

/* Pages that reclaim_batch has left with the helper of swap are written. Gives the lock up inside. */
void reclaim_finish(struct machine *m);

/*
 * demote.c: makes room in a pool that is short of it and has an area below with some, by compaction or by passing a batch on. True: there is
 * more now. Not while m->reclaiming.
 */
bool demote_step(struct machine *m);
/* Passes a batch of old pages on from the pool, which there must be, to the areas below. Returns how many. Not while m->reclaiming. */
unsigned demote_batch(struct machine *m);

/* shrink.c: reclaim on an engine with accessed bits. */

/*
 * Direct reclaim: at least `target` pages, if there are such; returns how many. global: for want of frames; false: for a
 * cgroup's limit. Must not be entered while m->reclaiming.
 */
unsigned reclaim_direct(struct machine *m, unsigned target, bool global);

#define KSWAPD_FAILURES 16 /* MAX_RECLAIM_RETRIES */

enum kswapd_state {
	KSWAPD_BALANCED, /* a zone of the node is above HIGH: sleep */
	KSWAPD_WORKING,  /* call again */
	KSWAPD_HOPELESS, /* 16 rounds without a page: sleep until direct reclaim gets somewhere */
};
/* One pass of kswapd over its node. */
enum kswapd_state shrink_balance(struct machine *m, unsigned node);

/* kswapd.c: one step of kswapd on either kind of engine, for one that has a clock of its own. */
enum kswapd_state kswapd_step(struct machine *m, unsigned node);
/*
 * Without accessed bits: near MIN a fault would get one frame and no read-ahead, or a part of it. The program is faster
 * if it waits until a window can be had, and a part of another one. Free frames that a fault on the node has to wait for; 0: none.
 */
uint32_t kswapd_throttle(const struct machine *m, unsigned node, uint32_t window);

/* reclaim.c: pages that are unmapped and locked are written, their frames freed; the others arrive on a list again. Returns how many went. */
unsigned reclaim_write(struct machine *m, struct swap_io *io, unsigned n, const struct swap_ahead *ahead);

/*
 * kswapd's work on an engine without accessed bits: while free frames are below HIGH, reclaim_batch. Returns 0 when balanced,
 * -ENOMEM after KSWAPD_FAILURES steps without progress (Linux: MAX_RECLAIM_RETRIES).
 * stop (may be NULL) is asked between steps.
 */
int kswapd_balance(struct machine *m, unsigned node, bool (*stop)(void *ctx), void *ctx);

/*
 * How many of the mappings of a user page have been used since this was asked last (Linux: folio_referenced); their
 * accessed bits are cleared. 0 on an engine that has none.
 */
unsigned frame_referenced(struct machine *m, struct frame *f);
/* The mappings of f and of those before it on its list, n pages, will be asked for: entries are fetched. f may be NULL. */
void frames_prefetch(struct machine *m, const struct frame *f, unsigned n);
/* A page of a file that somebody has mapped as code. */
bool frame_executable(const struct frame *f);

/* workingset.c (mm/workingset.c): what eviction leaves in the slot, and what refault makes of it. */
uint8_t workingset_shadow(struct lruvec *v);
/* How many evictions and activations make a step of the shadow: a power of two, between a 16th and a quarter of resident memory. */
uint64_t workingset_bucket(const struct lruvec *v);
/* How many evictions and activations ago that was; wraps. */
uint64_t workingset_distance(const struct lruvec *v, uint8_t shadow);
/* The same two for pages of files, whose shadows stand in the page cache. */
uint16_t workingset_file_shadow(struct lruvec *v);
uint64_t workingset_file_distance(const struct lruvec *v, uint16_t shadow);
/* How long ago the page went to the slot, in such steps; more coarsely from 128 on. */
uint32_t workingset_slot_age(const struct machine *m, const struct lruvec *v, const struct swap_slot *slot);
/* The anonymous page in f goes to the slot: its age is left there. */
void workingset_evict(struct machine *m, const struct frame *f, struct swap_slot *slot);
/* It is back from the slot in frame f: is it hot? */
bool workingset_swapin(struct machine *m, struct frame *f, const struct swap_slot *slot);
/* True: a page evicted so recently that it would have stayed had the active list been as long as it is. Counts as an activation. */
bool workingset_hot(struct machine *m, struct lruvec *v, uint64_t distance, bool file);

#endif

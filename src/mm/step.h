/*
 * Steps: what the manager does, told one by one to whoever watches (steward explain). Nobody watches by default, and
 * then a step costs the look at one pointer.
 *
 * A step is told when it has happened, so the watcher finds the machine as the step left it; STEP_FAULT and STEP_PASS,
 * which begin something, are told before. A watcher looks and changes nothing.
 */
#ifndef STW_MM_STEP_H
#define STW_MM_STEP_H

#include "mm/types.h"

struct mm;

/* What each fills in beside kind; the others are 0. list: enum lru_list. */
enum mm_step_kind {
	/* Faults: mm, vpn */
	STEP_FAULT,       /* one begins; arg: enum fault_access */
	STEP_ZERO,        /* the page of zeros is mapped, pfn */
	STEP_PLACE,       /* a page has got frame pfn, on a list; arg: pages (512: a huge one) */
	STEP_MAP_FILE,    /* the cached page of a file, in pfn, is mapped */
	STEP_COPY,        /* the page has got a copy of its own of frame arg; STEP_PLACE came before */
	STEP_REUSE,       /* the page may be written where it is: nobody else has it, or it is a shared file's; pfn */
	STEP_SOFT,        /* was resident, unmapped as a sample: mapped again, pfn, list */
	STEP_SWAP_IN,     /* read from slot arg into pfn; STEP_PLACE follows, unless it stays unmapped beside the one wanted; mm
			     NULL: into shared memory */
	STEP_FILE_READ,   /* arg pages of a file have come into the page cache; mm and vpn are 0 */
	/* Reclaim: pfn, list; node */
	STEP_PASS,        /* a pass over a node's lists begins: priority; arg: 1 kswapd, 0 who allocates */
	/* The next three are told by policies that have such lists: two-list. */
	STEP_KEEP,        /* used once, or code: to the young end of its list again */
	STEP_ACTIVATE,    /* used again: to the active list */
	STEP_DEACTIVATE,  /* from the old end of the active list to the inactive one */
	STEP_SAMPLE,      /* unmapped but resident; mm NULL: of a page that several may have had, else vpn */
	STEP_SWAP_OUT,    /* the page has left for slot arg, its frame is about to be free; mm, vpn as for STEP_SAMPLE */
	STEP_DROP,        /* a clean page of a file has left; arg: its number in the file */
	STEP_DIRTY,       /* a dirty page of a file waits for the flusher; arg: its number in the file */
	STEP_PASS_END,    /* priority; arg: pages freed */
	STEP_OOM,         /* nothing can be reclaimed: mm is the victim, still alive; arg: 1 for the machine, 0 for a limit */
	NR_STEPS
};

struct mm_step {
	uint8_t kind, list, node, priority;
	pfn_t pfn;
	struct mm *mm;
	vpn_t vpn;
	uint64_t arg;
};

/* STEP(m, COPY, .mm = mm, .vpn = vpn): the arguments are evaluated only if somebody watches. */
#define STEP(m, what, ...) \
	do { \
		if (unlikely((m)->watch != NULL)) \
			(m)->watch((m)->watcher, &(struct mm_step){ .kind = STEP_##what, __VA_ARGS__ }); \
	} while (0)

#endif

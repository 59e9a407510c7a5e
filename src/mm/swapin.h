/*
 * Swap-in: the pages that one major fault brings back (Linux: do_swap_page, swap_state.c).
 *
 * Where the engine has room for them (machine.swapins), a swap-in from a store that can read while others are served
 * is left on its way: the fault is FAULT_WAIT, and mm_swapin_done has its end. Others are begun ahead of a stream, before
 * anybody waits for them (readahead.c).
 */
#ifndef STW_MM_SWAPIN_H
#define STW_MM_SWAPIN_H

#include "mm/backing/readahead.h"
#include "mm/machine.h"

#define SWAPINS 8 /* on their way at once */
#define SWAPINS_AHEAD 6 /* of them before anybody waits: the others are for faults */

_Static_assert(RA_MAX <= STORE_BATCH, "one read takes a whole plan");

/*
 * On its way: the entries of its pages name slots that are SLOT_READING, and nobody but its end changes them; its
 * frames are on no list.
 */
struct swapin {
	bool busy;           /* on its way */
	bool ahead;          /* it was begun before anybody touched one of its pages; fault: the first of them, the mark */
	bool waited;         /* somebody has touched one of its pages meanwhile */
	struct mm *mm;
	vpn_t fault;         /* the page touched */
	uint64_t prot, since;
	uint64_t begun;      /* when the reading of pages from below the pool began, ns; 0: there are none, or no clock */
	unsigned below;      /* such pages */
	unsigned n;          /* the pages, in address order once they are read */
	vpn_t vpn[RA_MAX];
	bool beside[RA_MAX]; /* of a cluster: not mapped */
	struct frame *frame[RA_MAX];
	struct swap_read read[RA_MAX];
	struct swap_reading reading;
};

/* Law: nr = those that are busy; awaited = of them, those that somebody waits for. */
struct swapins {
	unsigned nr, awaited;
	struct swapin in[SWAPINS];
};

/* A touch of vpn, whose entry is in a store. Not while SWAPINS are on their way. */
enum fault_result swapin_fault(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access, struct fault_report *report);
/* Some page in [start, end) is on its way, of whatever address space. */
bool swapins_within(const struct swapins *all, vpn_t start, vpn_t end);
/* A page that was read ahead is touched for the first time. If it is a mark, its stream goes on, and it is true. */
bool swapin_reached(struct mm *mm, struct vma *vma, vpn_t vpn);

#endif

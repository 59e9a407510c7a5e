/*
 * Swap-in: the pages that one major fault brings back (Linux: do_swap_page, swap_state.c).
 *
 * Where the engine has room for them (machine.swapins), a swap-in from a store that can read while others are served
 * is left on its way: the fault is FAULT_WAIT, and mm_swapin_done has its end.
 */
#ifndef STW_MM_SWAPIN_H
#define STW_MM_SWAPIN_H

#include "mm/backing/readahead.h"
#include "mm/machine.h"

#define SWAPINS 8 /* on their way at once */

_Static_assert(RA_MAX <= STORE_BATCH, "one read takes a whole plan");

/*
 * On its way: the entries of its pages name slots that are SLOT_READING, and nobody but its end changes them; its
 * frames are on no list.
 */
struct swapin {
	bool busy;           /* on its way */
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

/* Law: nr = those that are busy. */
struct swapins {
	unsigned nr;
	struct swapin in[SWAPINS];
};

/* A touch of vpn, whose entry is in a store. Not while SWAPINS are on their way. */
enum fault_result swapin_fault(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access, struct fault_report *report);

#endif

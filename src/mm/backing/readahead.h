/*
 * Read-ahead: which pages to fetch along with a faulting one. Each area
 * remembers several access streams at once, forwards, backwards or strided.
 * The caller holds the machine's lock.
 */
#ifndef STW_MM_BACKING_READAHEAD_H
#define STW_MM_BACKING_READAHEAD_H

#include "mm/space/vma.h"

#define RA_MAX 32        /* pages in one plan, the faulting one included */
#define RA_DEPTH_MAX 4   /* windows ahead of the one that is touched */
#define RA_STRIDE_MAX 64 /* pages between two accesses of a stream, at most */

struct ra_plan {
	uint16_t n;        /* pages in vpn[], at least 1 */
	bool hit;          /* a stream had predicted this fault (swap_ra_hit) */
	vpn_t vpn[RA_MAX]; /* vpn[0] is the faulting page; the others follow in stream order, inside the area */
};

/*
 * Called on every major fault, and on zero-fill faults with a smaller max.
 * Learns from the fault, and says what to fetch: at most max pages (0 counts
 * as 1). Pages of the plan may be resident already: the caller skips those.
 */
void readahead_plan(struct vma *vma, vpn_t fault, unsigned max, struct ra_plan *plan);

/*
 * Windows ahead, for stores that read while others are served. The page is touched: true if a stream has asked for it ahead,
 * whose present window begins there. late: it was still on its way.
 */
bool readahead_reached(struct vma *vma, vpn_t touched, bool late);
/* A window more that the stream of the page that was planned for last, or reached, should have ahead: depth_max of them at most. False: none. */
bool readahead_further(struct vma *vma, vpn_t touched, unsigned depth_max, struct ra_plan *plan);

/* Executes the law of the streams (readahead.c). */
void readahead_check(const struct vma *vma);

#endif

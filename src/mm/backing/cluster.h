/*
 * Cluster read-ahead: a page that comes from a slow store brings the neighbours
 * along that left together with it and lie beside it there, because one call for
 * eight pages takes hardly longer than for one. They stay unmapped until they are
 * touched, which is a soft fault and tells that they were worth it.
 */
#ifndef STW_MM_BACKING_CLUSTER_H
#define STW_MM_BACKING_CLUSTER_H

#include "mm/backing/swap.h"
#include "mm/space/pagetable.h"

#define CLUSTER_MAX 8 /* pages, the faulting one included (Linux: page-cluster 3) */

/* How large a cluster is worth: from what the last ones were good for. */
struct cluster {
	uint16_t hits;  /* pages read ahead that were touched, since the last cluster */
	uint16_t size;  /* of the last cluster */
	uint16_t quiet; /* clusters of one page in a row */
};

/*
 * The neighbours of fault, whose entry is in a store: pages that lie beside it
 * both in the address space and in the store, within [start, end). At most
 * CLUSTER_MAX - 1; returns how many.
 */
unsigned cluster_plan(struct cluster *c, struct swap *s, struct pagetable *pt, vpn_t fault, vpn_t start,
		      vpn_t end, vpn_t *neighbours);

#endif

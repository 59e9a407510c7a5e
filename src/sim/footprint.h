/* Which pages of which tasks were touched: a set that says whether a page is new to it. */
#ifndef STW_SIM_FOOTPRINT_H
#define STW_SIM_FOOTPRINT_H

#include "base/types.h"

#define FOOTPRINT_PAGES 512 /* of a chunk, one bit each */

struct footprint_chunk {
	uint64_t key;       /* task and first page, plus 1; 0: free */
	uint64_t bits[FOOTPRINT_PAGES / 64];
};

struct footprint {
	struct footprint_chunk *chunk; /* open addressing, half full at most */
	struct footprint_chunk *last;  /* the one that was asked for last, or NULL */
	size_t room, n;
	uint64_t pages;     /* in the set */
};

/* task < 2^20, vpn < 2^52. 1: new, 0: it was there, or -ENOMEM. An empty set is all zeros. */
int footprint_add(struct footprint *f, uint32_t task, uint64_t vpn);
void footprint_free(struct footprint *f);

#endif

/* When somebody who waits for a frame may say that there is none. */
#ifndef STW_MM_RECLAIM_PATIENCE_H
#define STW_MM_RECLAIM_PATIENCE_H

#include "base/types.h"

/* Rounds of kswapd_balance without a frame freed. Time alone says nothing: the pager may have no CPU. */
#define PATIENCE_ROUNDS 100

struct patience {
	uint64_t since;  /* ns: when the waiting began, or something was freed last */
	uint32_t failed; /* rounds of the pager in a row that had failed by then */
};

/* now: ns. failed: rounds of the pager in a row that have failed until now. */
static inline void patience_begin(struct patience *p, uint64_t now, uint32_t failed)
{
	*p = (struct patience){ .since = now, .failed = failed };
}

/* The pager has tried often enough since the waiting began. */
static inline bool patience_tried(struct patience *p, uint32_t failed)
{
	/* One that succeeded in between begins anew. */
	p->failed = MIN(p->failed, failed);
	return failed - p->failed >= PATIENCE_ROUNDS;
}

#endif

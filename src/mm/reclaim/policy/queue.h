/*
 * What policies made of queues have in common: taking pages off the old end of one, a lap of the hand at a time.
 */
#ifndef STW_MM_RECLAIM_POLICY_QUEUE_H
#define STW_MM_RECLAIM_POLICY_QUEUE_H

#include "mm/machine.h"
#include "mm/reclaim/reclaim.h"

/*
 * policy->begin. A pass must end although pages that stay come by again: it looks at two laps' worth of pages at most.
 * One is not enough, since the first may do no more than clear accessed bits.
 */
void queue_begin(struct machine *m, struct lruvec *v, struct scan *s);

/* An unlisted page that is looked at has been used, or must stay for another reason, and is on a list again. */
typedef bool queue_stays(struct machine *m, struct lruvec *v, struct frame *f);

/*
 * Takes pages off the old end of a list until n are found that may leave, all with a disk behind them or none, the list is empty or the
 * pass has seen enough (queue_over). Anonymous pages for which there is no room go to the young end. Returns how many.
 * stays: NULL if use does not matter.
 */
unsigned queue_take(struct machine *m, struct lruvec *v, struct scan *s, enum lru_list list, struct frame **frames,
		    unsigned n, queue_stays *stays);

/* The pass has seen enough. */
static inline bool queue_over(const struct scan *s) { return s->nr[0] == 0; }

#endif

/* First in, first out: use does not matter. The yardstick from below, and the policy in which more memory can mean more
 * faults (Belady, Nelson and Shedler 1969). Without accessed bits it would be second-chance's, because the sample asks. */
#include "mm/reclaim/policy/queue.h"

#define QUEUE LRU_INACTIVE_ANON

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	(void)m;
	(void)how;
	lru_add(v, f, QUEUE);
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	unsigned got = queue_take(m, v, s, QUEUE, frames, n, NULL);

	s->done = v->nr[QUEUE] == 0 || queue_over(s);
	return got;
}

const struct policy policy_fifo = {
	.name = "fifo",
	.text = "first in, first out, used or not",
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
};

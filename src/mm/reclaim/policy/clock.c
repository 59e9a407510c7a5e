/*
 * CLOCK (Corbató 1968): one circle of pages and a hand. A page that was used since the hand came by last is passed over
 * and its bit cleared; the first that was not goes.
 *
 * The circle is a queue here: under the hand is its old end, and what is passed over goes to the young one. On a machine
 * without accessed bits the hand unmaps, and what is touched before it reaches the old end of the sample goes behind
 * the hand again: the same, with a hand in front that clears and one behind that takes (two-handed clock, 4.3BSD).
 */
#include "mm/reclaim/policy/queue.h"

#define CIRCLE LRU_INACTIVE_ANON

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	(void)m;
	(void)how;
	lru_add(v, f, CIRCLE);
}

static bool used(struct machine *m, struct lruvec *v, struct frame *f)
{
	if (frame_referenced(m, f) == 0)
		return false;
	lru_add(v, f, CIRCLE);
	return true;
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	unsigned got = queue_take(m, v, s, CIRCLE, frames, n, used);

	s->done = v->nr[CIRCLE] == 0 || queue_over(s);
	return got;
}

const struct policy policy_clock = {
	.name = "clock",
	.text = "a circle of pages, and a hand that passes over those used since it came by last",
	.sampled = true,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
};

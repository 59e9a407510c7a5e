/* True LRU: the page goes that was not used for longest. No machine can know which that is without hearing of every touch. */
#include "mm/reclaim/policy/queue.h"

#define STACK LRU_INACTIVE_ANON

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	(void)m;
	(void)how;
	lru_add(v, f, STACK);
}

static void touch(struct machine *m, struct lruvec *v, struct frame *f)
{
	(void)m;
	if (f == TAILQ_FIRST(&v->list[STACK]))
		return;
	lru_del(v, f);
	lru_add(v, f, STACK);
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	unsigned got = queue_take(m, v, s, STACK, frames, n, NULL);

	s->done = v->nr[STACK] == 0 || queue_over(s);
	return got;
}

const struct policy policy_lru = {
	.name = "lru",
	.text = "the page not used for longest, by every single touch: a yardstick",
	.every_touch = true,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
	.touch = touch,
};

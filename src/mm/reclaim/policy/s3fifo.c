/*
 * S3-FIFO (Yang, Zhang, Qiu, Yue and Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023), with the
 * one bit of use that a machine has.
 *
 *      first touch ──► SMALL ──old end──► used: MAIN ──old end──► used: once round again
 *                                         not: out, a ghost        not: out
 *                        back while a ghost ──► MAIN
 *
 * Most pages of a skewed program are used once before they would be evicted in any case. SMALL, a tenth of what is
 * resident, lets them pass quickly; what is used there, or comes back soon after, is worth a place in MAIN.
 *
 * What is different from the paper:
 *   - its objects count up to three uses, and two are needed to leave SMALL for MAIN. A bit knows of one.
 *   - its ghosts are a queue of their own, as long as MAIN. Here a page was a ghost if it left SMALL and comes back within
 *     so many evictions and ghosts' returns: the refault distance (workingset.c), for which the slot has room already.
 *     The queue counts what left SMALL only, so this one is a little shorter. An area that checks what comes back keeps
 *     neither which queue a page left nor an exact age; there MAIN's pages are ghosts too.
 *   - without accessed bits the sample asks: a touch there is a use. A page that proves itself counts as one of MAIN.
 */
#include "mm/reclaim/policy/queue.h"

#define SMALL LRU_INACTIVE_ANON
#define MAIN LRU_ACTIVE_ANON
#define SMALL_SHARE 10 /* SMALL: one page in 10 */

/* FRAME_WORKINGSET says that a page is, or was when it was evicted, in MAIN. */
static void add_main(struct lruvec *v, struct frame *f)
{
	f->flags |= FRAME_WORKINGSET;
	lru_add(v, f, MAIN);
}

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	bool was_main = f->flags & FRAME_WORKINGSET;

	(void)m;
	f->flags &= (uint16_t)~FRAME_WORKINGSET;
	if (how == ARRIVE_SOFT || (how == ARRIVE_REFAULT && !was_main) || (how == ARRIVE_BACK && was_main))
		add_main(v, f);
	else
		lru_add(v, f, SMALL);
}

static bool used(struct machine *m, struct lruvec *v, struct frame *f)
{
	if (frame_referenced(m, f) == 0)
		return false;
	add_main(v, f);
	return true;
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	unsigned got = 0;

	if (v->nr[SMALL] >= lru_of_policy(v) / SMALL_SHARE)
		got = queue_take(m, v, s, SMALL, frames, n, used);
	if (got == 0)
		got = queue_take(m, v, s, v->nr[MAIN] > 0 ? MAIN : SMALL, frames, n, used);
	s->done = v->nr[SMALL] + v->nr[MAIN] == 0 || queue_over(s);
	return got;
}

static uint64_t workingset(const struct machine *m, const struct lruvec *v, bool file)
{
	(void)m;
	(void)file;
	return lru_resident(v) - lru_resident(v) / SMALL_SHARE;
}

const struct policy policy_s3fifo = {
	.name = "s3-fifo",
	.text = "a small queue that most pages only pass, and a main one",
	.sampled = true,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
	.workingset = workingset,
};

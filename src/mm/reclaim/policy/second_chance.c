/*
 * FIFO with second chance, segmented: what the live engine runs (VMS's segmented FIFO; Babaoglu & Joy 1981 for the
 * machine without a reference bit).
 *
 *      first touch ──► NEW ──────┐
 *                                ├──► chosen ──(sample)──► evicted
 *      proved hot ───► ACTIVE ───┘
 *
 * Both are FIFO queues. A page proves hot by a touch while it is on the sample, by coming back within its refault
 * distance, or, on a machine with accessed bits, by having its bit set when it is looked at. NEW is kept at
 * PROBATION_SHARE of what is resident before ACTIVE gives, so that a stream of pages used once passes by without
 * touching the hot ones.
 */
#include "mm/reclaim/policy/queue.h"

#define NEW LRU_INACTIVE_ANON
#define ACTIVE LRU_ACTIVE_ANON
#define PROBATION_SHARE 8 /* NEW: one page in 8 */

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	(void)m;
	lru_add(v, f, how == ARRIVE_NEW ? NEW : ACTIVE);
}

static bool used(struct machine *m, struct lruvec *v, struct frame *f)
{
	if (frame_referenced(m, f) == 0)
		return false;
	lru_add(v, f, ACTIVE);
	return true;
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	bool from_new = v->nr[NEW] > lru_resident(v) / PROBATION_SHARE || v->nr[ACTIVE] == 0;
	unsigned got = queue_take(m, v, s, from_new ? NEW : ACTIVE, frames, n, used);

	s->done = v->nr[NEW] + v->nr[ACTIVE] == 0 || queue_over(s);
	return got;
}

static uint64_t workingset(const struct machine *m, const struct lruvec *v, bool file)
{
	(void)m;
	(void)file;
	return v->nr[ACTIVE];
}

const struct policy policy_second_chance = {
	.name = "second-chance",
	.text = "FIFO queues of new and of proven pages",
	.sampled = true,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
	.workingset = workingset,
};

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
#include "mm/reclaim/policy.h"

#include "mm/reclaim/reclaim.h"

#define NEW LRU_INACTIVE_ANON
#define ACTIVE LRU_ACTIVE_ANON
#define PROBATION_SHARE 8 /* NEW: one page in 8 */

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	(void)m;
	lru_add(v, f, how == ARRIVE_NEW ? NEW : ACTIVE);
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	bool from_new = v->nr[NEW] > lru_resident(v) / PROBATION_SHARE || v->nr[ACTIVE] == 0;
	struct frame_list *list = &v->list[from_new ? NEW : ACTIVE];
	unsigned got = 0;

	while (got < n) {
		struct frame *f = TAILQ_LAST(list, frame_list);

		/* What has a disk and what has swap behind it leave by different doors. */
		if (f == NULL || (got > 0 && frame_on_disk(f) != frame_on_disk(frames[0])))
			break;
		lru_del(v, f);
		s->scanned++;
		/* Each page gets one more lap at most in a pass: a pass must end. */
		if (s->scanned <= v->nr[NEW] + v->nr[ACTIVE] && frame_referenced(m, f) > 0)
			lru_add(v, f, ACTIVE);
		else
			frames[got++] = f;
	}
	/* Those that could not leave are back: twice round, and no more in this pass. */
	s->done = v->nr[NEW] + v->nr[ACTIVE] == 0 || s->scanned > 2 * (v->nr[NEW] + v->nr[ACTIVE] + got);
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
	.choose = choose,
	.workingset = workingset,
};

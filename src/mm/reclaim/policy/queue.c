#include "mm/reclaim/policy/queue.h"

void queue_begin(struct machine *m, struct lruvec *v, struct scan *s)
{
	(void)m;
	s->nr[0] = 2 * lru_of_policy(v) + 1;
}

unsigned queue_take(struct machine *m, struct lruvec *v, struct scan *s, enum lru_list list, struct frame **frames,
		    unsigned n, queue_stays *stays)
{
	unsigned got = 0;
	struct frame *f;

	frames_prefetch(m, TAILQ_LAST(&v->list[list], frame_list), n);
	while (got < n && s->nr[0] > 0 && (f = TAILQ_LAST(&v->list[list], frame_list)) != NULL) {
		bool file = frame_on_disk(f);

		/* What has a disk and what has swap behind it leave by different doors. */
		if (got > 0 && file != frame_on_disk(frames[0]))
			break;
		lru_del(v, f);
		s->nr[0]--;
		s->scanned++;
		if (stays != NULL && stays(m, v, f))
			continue;
		if (file || s->may_swap)
			frames[got++] = f;
		else
			lru_add(v, f, list);
	}
	return got;
}

/*
 * Any page, all alike. What a policy is worth is what it is better than this; and no program can be written against it.
 *
 * A page is drawn by its frame: a number between the lowest and the highest frame that a page ever arrived in, again
 * if no page of the list is there. The draws that it takes are that range over the pages in it, few as long as the
 * buddy system fills memory from one end; after LOOK of them in vain the oldest page goes. No array of pages is kept,
 * because pages also leave without the policy's being told (munmap).
 */
#include "base/rand.h"
#include "mm/reclaim/policy/queue.h"

#define PAGES LRU_INACTIVE_ANON
#define LOOK 4096

/* v->private */
struct random {
	struct rand rand;
	uint32_t low, high; /* frame numbers, [low, high); 0, 0: no page came yet */
};

_Static_assert(sizeof(struct random) <= sizeof(((struct lruvec *)0)->private), "grow the private part");

static int init(struct machine *m, struct lruvec *v)
{
	struct random *r = (struct random *)v->private;

	rand_seed(&r->rand, m->seed + (uint64_t)(v - m->lruvec));
	return 0;
}

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	struct random *r = (struct random *)v->private;
	uint32_t pfn = frame_pfn(&m->phys, f).n;

	(void)how;
	r->low = r->high == 0 ? pfn : MIN(r->low, pfn);
	r->high = MAX(r->high, pfn + 1);
	lru_add(v, f, PAGES);
}

static struct frame *draw(struct machine *m, struct lruvec *v)
{
	struct random *r = (struct random *)v->private;

	for (unsigned i = 0; i < LOOK; i++) {
		struct frame *f = &m->phys.frames[r->low + rand_below(&r->rand, r->high - r->low)];

		if ((f->flags & FRAME_LRU) && lru_list_of(f) == PAGES && lruvec_of(m, f) == v)
			return f;
	}
	return TAILQ_LAST(&v->list[PAGES], frame_list);
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	unsigned got = 0;

	while (got < n && v->nr[PAGES] > 0 && s->nr[0] > 0) {
		struct frame *f = draw(m, v);
		bool file = frame_on_disk(f);

		s->nr[0]--;
		s->scanned++;
		if (!file && !s->may_swap)
			continue;
		if (got > 0 && file != frame_on_disk(frames[0]))
			break;
		lru_del(v, f);
		frames[got++] = f;
	}
	s->done = v->nr[PAGES] == 0 || queue_over(s);
	return got;
}

const struct policy policy_random = {
	.name = "random",
	.text = "any page",
	.sampled = true,
	.init = init,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
};

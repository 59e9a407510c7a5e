/*
 * The optimum: the page goes whose next use is furthest away (Belady, "A study of replacement algorithms for a
 * virtual-storage computer", IBM Systems Journal 5, 1966; Mattson, Gecsei, Slutz and Traiger 1970 prove it). No machine
 * can know; the engine that replays a trace has read it before (machine.next_use). What another policy faults more than
 * this is what is left to gain.
 *
 *      heap     1 ─┬─ 2 ─┬─ 4      by next use, the furthest on top
 *                  └─ 3  └─ 5
 *      node     by frame: { next use, place in the heap }
 *
 * Laws: heap[place[f]] == f for every frame that has a place; no node's next use is further away than its parent's.
 * Each page of the list whose next use is known is in the heap. The heap may have frames whose page has gone without the
 * policy's being told (munmap); they are found out when they come to the top.
 *
 * Cost: a touch moves its page towards the top: O(log n) at worst, but the page was the soonest of all, so a leaf; choosing
 * O(log n). 16 bytes a frame of the machine, from the machine's own memory.
 *
 * Optimal is the number of pages that come in, on a machine where every page costs the same and nothing is brought in
 * unasked; not the number of writes, nor time. Of a page that fork shared, the next use is that by the task which used
 * it last. Pages of files that are read and written, not mapped, go by their last fault.
 */
#include <errno.h>
#include <string.h>

#include "mm/reclaim/policy/queue.h"

#define PAGES LRU_INACTIVE_ANON
#define NEVER UINT64_MAX

struct node {
	uint64_t next_use; /* of this frame's page */
	uint32_t place;    /* in the heap, 1 up; 0: none */
	uint32_t heap;     /* frame number less low of the one whose place this is; not of this frame */
};

/* v->private */
struct opt {
	struct node *node; /* node[0].heap is not used */
	uint32_t low;      /* the node's first frame */
	uint32_t nr;       /* in the heap */
};

_Static_assert(sizeof(struct opt) <= sizeof(((struct lruvec *)0)->private), "grow the private part");

static struct opt *state(struct lruvec *v)
{
	return (struct opt *)v->private;
}

static int init(struct machine *m, struct lruvec *v)
{
	unsigned node = (unsigned)(v - m->lruvec);
	uint32_t low = UINT32_MAX, high = 0;
	struct opt *o = state(v);

	for (unsigned i = 0; i < m->phys.nr_zones; i++) {
		const struct zone *z = &m->phys.zones[i];

		if (z->node != node)
			continue;
		low = MIN(low, z->start.n);
		high = MAX(high, z->start.n + z->spanned);
	}
	if (high == 0)
		return 0;
	/* Places are counted from 1. */
	size_t size = ((size_t)(high - low) + 1) * sizeof(struct node);
	uint64_t address = vmalloc(&m->vmalloc, size);

	if (address == 0)
		return -ENOMEM;
	*o = (struct opt){ .node = (struct node *)(uintptr_t)address, .low = low };
	memset(o->node, 0, size);
	return 0;
}

static void destroy(struct machine *m, struct lruvec *v)
{
	if (state(v)->node != NULL)
		vfree(&m->vmalloc, (uint64_t)(uintptr_t)state(v)->node);
	state(v)->node = NULL;
}

static uint64_t key(const struct opt *o, uint32_t place)
{
	return o->node[o->node[place].heap].next_use;
}

static void put(struct opt *o, uint32_t place, uint32_t frame)
{
	o->node[place].heap = frame;
	o->node[frame].place = place;
}

static void sift_up(struct opt *o, uint32_t frame)
{
	uint32_t at = o->node[frame].place;

	for (; at > 1 && key(o, at / 2) < o->node[frame].next_use; at /= 2)
		put(o, at, o->node[at / 2].heap);
	put(o, at, frame);
}

static void sift_down(struct opt *o, uint32_t frame)
{
	uint32_t at = o->node[frame].place;

	for (;;) {
		uint32_t child = 2 * at;

		if (child < o->nr && key(o, child + 1) > key(o, child))
			child++;
		if (child > o->nr || key(o, child) <= o->node[frame].next_use)
			break;
		put(o, at, o->node[child].heap);
		at = child;
	}
	put(o, at, frame);
}

static void know(struct opt *o, uint32_t frame, uint64_t next_use)
{
	struct node *n = &o->node[frame];
	bool sooner = n->place != 0 && next_use < n->next_use;

	n->next_use = next_use;
	if (n->place == 0)
		put(o, ++o->nr, frame);
	if (sooner)
		sift_down(o, frame);
	else
		sift_up(o, frame);
}

static void drop_top(struct opt *o)
{
	uint32_t last = o->node[o->nr].heap;

	o->node[o->node[1].heap].place = 0;
	if (--o->nr == 0)
		return;
	put(o, 1, last);
	sift_down(o, last);
}

static void touch(struct machine *m, struct lruvec *v, struct frame *f)
{
	struct opt *o = state(v);

	know(o, frame_pfn(&m->phys, f).n - o->low, m->next_use != NULL ? m->next_use(m) : NEVER);
}

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	struct opt *o = state(v);
	uint32_t frame = frame_pfn(&m->phys, f).n - o->low;

	lru_add(v, f, PAGES);
	/* Nobody asked for it, and so nothing is known of it: it goes first until it is touched. */
	if (how == ARRIVE_BACK)
		know(o, frame, o->node[frame].next_use);
	else if (f->flags & FRAME_READAHEAD)
		know(o, frame, NEVER);
	else
		touch(m, v, f);
}

/* The page that is needed last, of those that the heap knows; if it knows none, the oldest on the list. */
static struct frame *furthest(struct machine *m, struct lruvec *v)
{
	struct opt *o = state(v);

	while (o->nr > 0) {
		struct frame *f = &m->phys.frames[o->low + o->node[1].heap];

		if ((f->flags & FRAME_LRU) && lru_list_of(f) == PAGES)
			return f;
		drop_top(o);
	}
	return TAILQ_LAST(&v->list[PAGES], frame_list);
}

static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	struct opt *o = state(v);
	unsigned got = 0;
	struct frame *f;

	while (got < n && s->nr[0] > 0 && (f = furthest(m, v)) != NULL) {
		bool file = frame_on_disk(f);

		if (got > 0 && file != frame_on_disk(frames[0]))
			break;
		s->nr[0]--;
		s->scanned++;
		if (o->nr > 0)
			drop_top(o);
		lru_del(v, f);
		if (file || s->may_swap)
			frames[got++] = f;
		else
			lru_add(v, f, PAGES);
	}
	s->done = v->nr[PAGES] == 0 || queue_over(s);
	return got;
}

const struct policy policy_opt = {
	.name = "opt",
	.text = "the page needed last, by a trace read beforehand: what no policy can beat",
	.every_touch = true,
	.foresight = true,
	.init = init,
	.destroy = destroy,
	.arrive = arrive,
	.begin = queue_begin,
	.choose = choose,
	.touch = touch,
};

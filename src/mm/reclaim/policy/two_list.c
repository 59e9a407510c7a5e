/*
 * Linux's classical reclaim: active and inactive lists, of anonymous and of file pages (mm/vmscan.c, mm/swap.c and
 * mm/workingset.c of 6.12, without MGLRU).
 *
 *      first touch ──► inactive ──old end──► not used: out
 *                       ▲    ▲                 used once: to the young end, marked
 *            deactivate │    └──────────────── used again, or by two: active
 *                       │
 *                    active ◄── refault within the working set
 *
 * New pages have to prove themselves on the inactive list. Active ones are moved back in order of age, whether they
 * were used or not, when the inactive list is low or when pages have come back that should have stayed. So the bit
 * counts on the inactive list only, and the active list costs nothing while it is long enough.
 *
 * Anonymous or file? In inverse proportion to what reclaiming each has cost lately (writes, pages that came back, pages
 * looked at in vain), weighed by swappiness: get_scan_count.
 *
 * Old statistics. Within a cgroup Linux asks for list sizes and refaults from counters that are brought up to date
 * every two seconds, while it scans by exact sizes. After a change of what is hot it therefore goes on for long
 * with a wrong idea of the lists, up to finding nothing on the inactive list while the active one is full; as
 * active anonymous pages alone keep no pass going, the cgroup is then killed with all its swap free. The delay is
 * m->vm.stats_flush_ns; 0 is what the authors will have meant.
 *
 * Batches. A CPU collects 31 new pages before it puts them on lists, or fewer when it scans. Until then they count in
 * no list's size. Here they are on their list at once, at the young end, and are only not counted: nothing else comes
 * to that end before a scan.
 */
#include "base/sqrt.h"
#include "mm/machine.h"
#include "mm/reclaim/reclaim.h"

/* v->private. The lists' order: anon inactive, anon active, file inactive, file active. */
struct two_list {
	uint64_t cost[2];        /* anon, file */
	uint64_t activated[2];   /* refaults that were activated (WORKINGSET_ACTIVATE_*) */
	uint64_t snapshot[2];    /* of it, as seen, at the end of the last reclaim */
	uint64_t seen_nr[4];     /* list sizes and activations as the statistics have them */
	uint64_t seen_activated[2];
	uint64_t flush_ns;       /* when they were brought up to date */
	uint64_t batched[4];     /* at the young end of each list: pages that Linux has in a batch, not on the list yet */
	uint64_t aged;           /* activations of this step, not in v->age yet */
};

_Static_assert(sizeof(struct two_list) <= sizeof(((struct lruvec *)0)->private), "grow the private part");

#define BATCH 31 /* PAGEVEC_SIZE */

/* s->flags */
enum { MAY_DEACTIVATE_ANON = 1, MAY_DEACTIVATE_FILE = 2 };

static struct two_list *state(struct lruvec *v)
{
	return (struct two_list *)v->private;
}

static bool is_file(const struct frame *f)
{
	return frame_on_disk(f);
}

static enum lru_list list_for(const struct frame *f, bool active)
{
	return (enum lru_list)((is_file(f) ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON) + active);
}

/* What Linux would have on the list. A page of the batch may have been freed, so there may be fewer on it than in the batch. */
static uint64_t listed(const struct lruvec *v, unsigned list)
{
	const struct two_list *t = (const struct two_list *)v->private;

	return v->nr[list] - MIN(v->nr[list], t->batched[list]);
}

/* lru_add_drain */
static void drain(struct lruvec *v)
{
	struct two_list *t = state(v);

	t->batched[0] = t->batched[1] = t->batched[2] = t->batched[3] = 0;
}

/* folio_add_lru: huge pages do not wait. */
static void add_batched(struct lruvec *v, struct frame *f, enum lru_list list)
{
	struct two_list *t = state(v);

	lru_add(v, f, list);
	t->batched[list]++;
	if (frame_pages(f) > 1 || t->batched[0] + t->batched[1] + t->batched[2] + t->batched[3] == BATCH)
		drain(v);
}

static void flush_if_due(struct machine *m, struct lruvec *v)
{
	struct two_list *t = state(v);
	uint64_t now = m->vm.stats_flush_ns == 0 ? 0 : m->ops->now_ns(m);

	if (m->vm.stats_flush_ns != 0 && now / m->vm.stats_flush_ns == t->flush_ns)
		return;
	for (unsigned i = 0; i < 4; i++)
		t->seen_nr[i] = listed(v, i);
	for (unsigned i = 0; i < 2; i++)
		t->seen_activated[i] = t->activated[i];
	t->flush_ns = m->vm.stats_flush_ns == 0 ? 0 : now / m->vm.stats_flush_ns;
}

static bool inactive_is_low(const struct two_list *t, bool file)
{
	uint64_t inactive = t->seen_nr[2 * file], active = t->seen_nr[2 * file + 1];
	uint64_t gigabytes = (inactive + active) >> (30 - PAGE_SHIFT);

	return inactive * (gigabytes == 0 ? 1 : int_sqrt(10 * gigabytes)) < active;
}

static void note_cost(struct lruvec *v, bool file, uint64_t io, uint64_t rotated)
{
	struct two_list *t = state(v);
	uint64_t size = t->seen_nr[0] + t->seen_nr[1] + t->seen_nr[2] + t->seen_nr[3];

	t->cost[file] += io * SWAP_CLUSTER_MAX + rotated;
	if (t->cost[0] + t->cost[1] > size / 4) {
		t->cost[0] /= 2;
		t->cost[1] /= 2;
	}
}

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	struct two_list *t = state(v);

	flush_if_due(m, v);
	switch (how) {
	case ARRIVE_NEW:
		add_batched(v, f, list_for(f, false));
		break;
	case ARRIVE_REFAULT:
		t->activated[is_file(f)]++;
		/* It was active once and came back: what reclaim took from this type, it took in vain. */
		if (f->flags & FRAME_WORKINGSET)
			note_cost(v, is_file(f), 1, 0);
		add_batched(v, f, list_for(f, true));
		break;
	case ARRIVE_SOFT:
	case ARRIVE_BACK:
		lru_add(v, f, list_for(f, true));
		v->age++;
		break;
	}
}

static uint64_t workingset(const struct machine *m, const struct lruvec *v, bool file)
{
	const struct two_list *t = (const struct two_list *)v->private;
	uint64_t size = t->seen_nr[LRU_ACTIVE_FILE];

	if (!file)
		size += t->seen_nr[LRU_INACTIVE_FILE];
	if (swap_has_room(&m->swap, SWAP_PRIO_ALL)) {
		size += t->seen_nr[LRU_ACTIVE_ANON];
		if (file)
			size += t->seen_nr[LRU_INACTIVE_ANON];
	}
	return size;
}

/* Is there so little besides anonymous memory that files are not worth looking at? */
static bool file_is_tiny(const struct machine *m, const struct lruvec *v, const struct scan *s)
{
	unsigned node = (unsigned)(v - m->lruvec);
	uint64_t file = v->nr[LRU_INACTIVE_FILE] + v->nr[LRU_ACTIVE_FILE];

	return s->global && file + phys_free_frames(&m->phys, node) <= phys_wmark(&m->phys, node, WMARK_HIGH) &&
	       !(s->flags & MAY_DEACTIVATE_ANON) && v->nr[LRU_INACTIVE_ANON] >> s->priority > 0;
}

/* get_scan_count: the share of each type, as numerators over *of. */
static void shares(struct machine *m, struct lruvec *v, const struct scan *s, uint64_t *share, uint64_t *of)
{
	const struct two_list *t = state(v);
	uint64_t swappiness = m->vm.swappiness;
	bool trim = t->seen_nr[LRU_INACTIVE_FILE] >> s->priority > 0 && !(s->flags & MAY_DEACTIVATE_FILE);

	*of = 1;
	share[0] = 0;
	share[1] = 1;
	if (!s->may_swap || (!s->global && swappiness == 0))
		return;
	if (s->priority == 0 && swappiness > 0) {
		share[0] = 1;
		return;
	}
	if (file_is_tiny(m, v, s)) {
		share[0] = 1;
		share[1] = 0;
		return;
	}
	if (trim)
		return;
	uint64_t total = t->cost[0] + t->cost[1], both = total + t->cost[0] + total + t->cost[1];

	share[0] = swappiness * (both + 1) / (total + t->cost[0] + 1);
	share[1] = (200 - swappiness) * (both + 1) / (total + t->cost[1] + 1);
	*of = share[0] + share[1];
}

static void begin(struct machine *m, struct lruvec *v, struct scan *s)
{
	struct two_list *t = state(v);
	uint64_t share[2], of;

	flush_if_due(m, v);
	s->flags = s->turn = 0;
	for (unsigned file = 0; file < 2; file++)
		if (s->force || t->seen_activated[file] != t->snapshot[file] || inactive_is_low(t, file))
			s->flags |= file ? MAY_DEACTIVATE_FILE : MAY_DEACTIVATE_ANON;
	shares(m, v, s, share, &of);
	for (unsigned i = 0; i < 4; i++)
		s->nr[i] = s->wanted[i] = (listed(v, i) >> s->priority) * share[i / 2] / of;
	s->before = s->reclaimed;
}

static unsigned shrink_active(struct machine *m, struct lruvec *v, struct scan *s, bool file, unsigned n)
{
	struct frame_list *list = &v->list[file ? LRU_ACTIVE_FILE : LRU_ACTIVE_ANON];
	unsigned i = 0, rotated = 0;
	struct frame *f;

	drain(v);
	frames_prefetch(m, TAILQ_LAST(list, frame_list), n);
	for (; i < n && (f = TAILQ_LAST(list, frame_list)) != NULL; i++) {
		bool code = file && frame_executable(f);

		lru_del(v, f);
		s->scanned++;
		/* The bit is cleared in any case; only code that is being run may stay. */
		if (frame_referenced(m, f) > 0 && code) {
			lru_add(v, f, LRU_ACTIVE_FILE);
			v->age++;
			STEP(m, KEEP, .pfn = frame_pfn(&m->phys, f), .list = f->list);
			rotated++;
			continue;
		}
		f->flags |= FRAME_WORKINGSET;
		lru_add(v, f, list_for(f, false));
		COUNT(m, pgdeactivate);
		STEP(m, DEACTIVATE, .pfn = frame_pfn(&m->phys, f), .list = f->list);
	}
	if (rotated > 0)
		note_cost(v, file, 0, rotated);
	return i;
}

/* folio_check_references. True: let it go. The mark outlives activation: after that, one use is enough to stay. */
static bool unused(struct machine *m, struct lruvec *v, struct frame *f)
{
	unsigned used = frame_referenced(m, f);
	bool marked = (f->flags & FRAME_REFERENCED) != 0;

	f->flags &= (uint16_t)~FRAME_REFERENCED;
	if (used == 0)
		return true;
	f->flags |= FRAME_REFERENCED;
	if (marked || used > 1 || (is_file(f) && frame_executable(f))) {
		lru_add(v, f, list_for(f, true));
		state(v)->aged++;
		COUNT(m, pgactivate);
		STEP(m, ACTIVATE, .pfn = frame_pfn(&m->phys, f), .list = f->list);
	} else {
		lru_add(v, f, list_for(f, false));
		STEP(m, KEEP, .pfn = frame_pfn(&m->phys, f), .list = f->list);
	}
	return false;
}

/* What stays is back on the lists: only now does it make what has just gone seem older (move_folios_to_lru). */
static void step_over(struct lruvec *v, bool file, uint64_t written, uint64_t kept)
{
	struct two_list *t = state(v);

	v->age += t->aged;
	t->aged = 0;
	note_cost(v, file, written, kept);
}

static unsigned shrink_inactive(struct machine *m, struct lruvec *v, struct scan *s, bool file, unsigned n,
				struct frame **frames)
{
	struct frame_list *list = &v->list[file ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON];
	unsigned got = 0;
	struct frame *f;

	s->kept = 0;
	drain(v);
	frames_prefetch(m, TAILQ_LAST(list, frame_list), n);
	for (unsigned i = 0; i < n && (f = TAILQ_LAST(list, frame_list)) != NULL; i++) {
		lru_del(v, f);
		s->scanned++;
		if (unused(m, v, f))
			frames[got++] = f;
		else
			s->kept++;
	}
	if (got == 0)
		step_over(v, file, 0, s->kept);
	return got;
}

/* What is left to scan once the target is reached: the type with less of it ends, the other keeps the proportion. */
static void adjust(struct scan *s)
{
	uint64_t anon = s->nr[0] + s->nr[1], file = s->nr[2] + s->nr[3];
	unsigned ends = file > anon ? 0 : 2, stays = 2 - ends;
	uint64_t left = (ends == 0 ? anon : file) * 100 / (s->wanted[ends] + s->wanted[ends + 1] + 1);

	s->nr[ends] = s->nr[ends + 1] = 0;
	for (unsigned i = stays; i < stays + 2; i++) {
		uint64_t scanned = s->wanted[i] - s->nr[i], want = s->wanted[i] * (100 - left) / 100;

		s->nr[i] = want - MIN(want, scanned);
	}
}

/* The pass is over: should the inactive anonymous list be refilled before the next? (shrink_lruvec's end) */
static void finish(struct machine *m, struct lruvec *v, struct scan *s)
{
	s->done = true;
	if (s->may_swap && inactive_is_low(state(v), false))
		shrink_active(m, v, s, false, SWAP_CLUSTER_MAX);
}

/* One list after the other, SWAP_CLUSTER_MAX pages of each: shrink_lruvec's inner loop, a step a call. */
static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned max)
{
	for (;; s->turn++) {
		if (s->turn == 4) {
			bool both = s->nr[0] + s->nr[1] > 0 && s->nr[2] + s->nr[3] > 0;

			s->turn = 0;
			if (s->reclaimed - s->before >= s->target && !s->proportional) {
				if (!both) {
					finish(m, v, s);
					return 0;
				}
				adjust(s);
			}
		}
		/* Active anonymous pages alone keep no pass going. */
		if (s->turn == 0 && s->nr[LRU_INACTIVE_ANON] + s->nr[LRU_ACTIVE_FILE] + s->nr[LRU_INACTIVE_FILE] == 0) {
			finish(m, v, s);
			return 0;
		}
		unsigned list = s->turn, n = (unsigned)MIN(s->nr[list], MIN(max, SWAP_CLUSTER_MAX));
		bool file = list >= LRU_INACTIVE_FILE;

		if (n == 0)
			continue;
		s->nr[list] -= n;
		if (list & 1) {
			if (s->flags & (file ? MAY_DEACTIVATE_FILE : MAY_DEACTIVATE_ANON))
				shrink_active(m, v, s, file, n);
			else
				s->skipped = true;
			continue;
		}
		unsigned got = shrink_inactive(m, v, s, file, n, frames);

		if (got > 0) {
			s->turn++;
			return got;
		}
	}
}

static void result(struct machine *m, struct lruvec *v, struct scan *s, const struct scan_result *r)
{
	(void)m;
	step_over(v, r->file, r->written, s->kept + r->chosen - r->reclaimed);
}

static void end(struct machine *m, struct lruvec *v)
{
	struct two_list *t = state(v);

	flush_if_due(m, v);
	t->snapshot[0] = t->seen_activated[0];
	t->snapshot[1] = t->seen_activated[1];
}

const struct policy policy_two_list = {
	.name = "two-list",
	.text = "active and inactive lists, as Linux without MGLRU",
	.sampled = true,
	.arrive = arrive,
	.begin = begin,
	.choose = choose,
	.result = result,
	.end = end,
	.workingset = workingset,
};

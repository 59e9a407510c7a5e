/*
 * Generations, in the manner of Linux's multi-generational LRU (Yu Zhao; Documentation/mm/multigen_lru.rst, mm/vmscan.c
 * of 6.12).
 *
 *                     min_seq                                max_seq
 *      out ◄── old end  │    2    │    3    │    4    │    5    │ ◄── faults
 *                        used when looked at ──────────────────►
 *                        ageing: all that were used ───────────►     then max_seq + 1 begins
 *
 * Pages of anonymous memory and of files have generations of their own, 2 to 4 of each, numbered by a sequence; the
 * youngest number is common. Eviction takes the oldest generation of one type. When there is nothing to take but the two
 * youngest, or these have grown too large, ageing asks for the accessed bits of all pages, puts those that were used
 * into the youngest generation, and opens a new one: what is then left behind was not used for a whole generation.
 *
 * Laws: MIN_GENS - 1 ≤ max_seq - min_seq[t] ≤ MAX_GENS - 1. The page of type t in generation s is on list_of(t, s), young
 * ones at its head.
 *
 * Which type? The one whose evicted pages come back less often, weighed by swappiness: the control loop of the original
 * (positive_ctrl_err), with running means over generations.
 *
 * What is simpler than in Linux:
 *   - ageing goes over the pages by their lists. Linux walks the page tables, and skips parts of them that a Bloom filter
 *     says are cold. The same pages are found used; the cost is counted per page looked at here.
 *   - eviction does not look at the neighbours of a page that it finds used.
 *   - one tier: a page read(2) twice goes to the youngest generation, instead of being protected if such pages come
 *     back. A new page of a file is put into the second-oldest generation, whether it was mapped or read.
 *   - no min_ttl_ms, no per-cgroup generations: a machine here has one cgroup at most.
 * Without accessed bits there is nothing to ask: ageing only opens generations, and a touch on the sample is the use.
 */
#include "mm/reclaim/policy/queue.h"

#define MAX_GENS 4
#define MIN_GENS 2
#define BATCH_MIN 64 /* MIN_LRU_BATCH: fewer refaults say nothing */

_Static_assert(2 * MAX_GENS <= NR_POLICY_LRU, "a list for each");

/* v->private. [0]: anonymous memory, [1]: files. */
struct mglru {
	uint64_t max_seq, min_seq[2];
	uint64_t refaulted[2], evicted[2];         /* since the last generation began */
	uint64_t mean_refaulted[2], mean_evicted[2]; /* and before, older ones for less */
};

_Static_assert(sizeof(struct mglru) <= sizeof(((struct lruvec *)0)->private), "grow the private part");

static struct mglru *state(struct lruvec *v)
{
	return (struct mglru *)v->private;
}

static enum lru_list list_of(unsigned type, uint64_t seq)
{
	return (enum lru_list)(type * MAX_GENS + seq % MAX_GENS);
}

static unsigned type_of(const struct frame *f)
{
	return frame_on_disk(f);
}

static int init(struct machine *m, struct lruvec *v)
{
	(void)m;
	state(v)->max_seq = MAX_GENS - 1;
	return 0;
}

static void arrive(struct machine *m, struct lruvec *v, struct frame *f, enum lru_arrival how)
{
	struct mglru *g = state(v);
	unsigned type = type_of(f);
	uint64_t seq = g->max_seq;

	(void)m;
	if (how == ARRIVE_REFAULT)
		g->refaulted[type]++;
	/* What nobody has touched yet, as far as is known, must earn it. */
	if (how == ARRIVE_NEW && (type == 1 || (f->flags & FRAME_READAHEAD)))
		seq = MIN(g->min_seq[type] + 1, g->max_seq);
	lru_add(v, f, list_of(type, seq));
}

/* Nothing is left in the oldest generations: they are over. */
static void retire_empty(struct lruvec *v, unsigned type)
{
	struct mglru *g = state(v);

	while (g->min_seq[type] + MIN_GENS <= g->max_seq && v->nr[list_of(type, g->min_seq[type])] == 0)
		g->min_seq[type]++;
}

/* All numbers are in use: what is left in the oldest generation joins the next, as its oldest. */
static void retire_oldest(struct lruvec *v, unsigned type)
{
	struct mglru *g = state(v);
	enum lru_list from = list_of(type, g->min_seq[type]), to = list_of(type, g->min_seq[type] + 1);
	struct frame *f;

	while ((f = TAILQ_FIRST(&v->list[from])) != NULL) {
		lru_del(v, f);
		lru_add_tail(v, f, to);
	}
	g->min_seq[type]++;
}

/* Pages of the list that were used go to the young end of `to`; the others keep their order. */
static void promote_used(struct machine *m, struct lruvec *v, enum lru_list from, enum lru_list to, struct scan *s)
{
	struct frame *f, *younger;

	for (f = TAILQ_LAST(&v->list[from], frame_list); f != NULL; f = younger) {
		younger = TAILQ_PREV(f, frame_list, link);
		s->scanned++;
		if (frame_referenced(m, f) == 0 || from == to)
			continue;
		lru_del(v, f);
		lru_add(v, f, to);
	}
}

static void age(struct machine *m, struct lruvec *v, struct scan *s)
{
	struct mglru *g = state(v);

	for (unsigned type = 0; type < 2; type++) {
		for (uint64_t seq = g->max_seq + 1; machine_has_accessed(m) && seq-- > g->min_seq[type];)
			promote_used(m, v, list_of(type, seq), list_of(type, g->max_seq), s);
		retire_empty(v, type);
		if (g->max_seq - g->min_seq[type] == MAX_GENS - 1)
			retire_oldest(v, type);
		g->mean_refaulted[type] = (g->mean_refaulted[type] + g->refaulted[type]) / 2;
		g->mean_evicted[type] = (g->mean_evicted[type] + g->evicted[type]) / 2;
		g->refaulted[type] = g->evicted[type] = 0;
	}
	g->max_seq++;
}

/* Pages of the type on all its lists. */
static uint64_t resident(const struct lruvec *v, unsigned type)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MAX_GENS; i++)
		n += v->nr[type * MAX_GENS + i];
	return n;
}

/* should_run_aging: nothing old is left, or too little of it, or too much is young. */
static bool ageing_due(struct lruvec *v, const struct scan *s)
{
	struct mglru *g = state(v);
	uint64_t oldest = UINT64_MAX, young = 0, old = 0, total = 0;

	for (unsigned type = s->may_swap ? 0 : 1; type < 2; type++) {
		if (resident(v, type) == 0)
			continue;
		oldest = MIN(oldest, g->min_seq[type]);
		total += resident(v, type);
		young += v->nr[list_of(type, g->max_seq)];
		old += g->min_seq[type] + MIN_GENS <= g->max_seq ? v->nr[list_of(type, g->max_seq - MIN_GENS)] : 0;
	}
	if (total == 0)
		return false;
	if (oldest + MIN_GENS > g->max_seq)
		return true;
	/* Once in a pass is enough for what only would be better. */
	if (oldest + MIN_GENS < g->max_seq || s->kept > 0)
		return false;
	return young * MIN_GENS > total || old * (MIN_GENS + 2) < total;
}

/* positive_ctrl_err: do pages of files come back, for their gain, no more often than anonymous ones? */
static bool file_is_cheaper(const struct machine *m, const struct lruvec *v)
{
	const struct mglru *g = (const struct mglru *)v->private;
	uint64_t gain[2] = { m->vm.swappiness, 200 - m->vm.swappiness }, refaulted[2], evicted[2];

	for (unsigned i = 0; i < 2; i++) {
		refaulted[i] = g->mean_refaulted[i] + g->refaulted[i];
		evicted[i] = g->mean_evicted[i] + g->evicted[i];
	}
	return refaulted[1] < BATCH_MIN || refaulted[1] * (evicted[0] + BATCH_MIN) * gain[0] <=
					   (refaulted[0] + 1) * evicted[1] * gain[1];
}

static unsigned choose_type(const struct machine *m, const struct lruvec *v, const struct scan *s)
{
	if (!s->may_swap || resident(v, 0) == 0)
		return 1;
	if (resident(v, 1) == 0)
		return 0;
	return file_is_cheaper(m, v);
}

static bool used(struct machine *m, struct lruvec *v, struct frame *f)
{
	if (frame_referenced(m, f) == 0)
		return false;
	lru_add(v, f, list_of(type_of(f), state(v)->max_seq));
	return true;
}

/* s->kept: how often the pass has aged. The first time clears the bits, so that at the latest the last leaves old pages. */
static unsigned choose(struct machine *m, struct lruvec *v, struct scan *s, struct frame **frames, unsigned n)
{
	struct mglru *g = state(v);

	for (; s->kept < MAX_GENS && ageing_due(v, s); s->kept++)
		age(m, v, s);
	unsigned type = choose_type(m, v, s), got = 0;

	for (uint64_t seq = g->min_seq[type]; got == 0 && seq <= g->max_seq; seq++)
		got = queue_take(m, v, s, list_of(type, seq), frames, n, used);
	retire_empty(v, type);
	g->evicted[type] += got;
	s->done = resident(v, type) == 0 || queue_over(s);
	return got;
}

static void begin(struct machine *m, struct lruvec *v, struct scan *s)
{
	queue_begin(m, v, s);
	s->kept = 0;
}

/* What comes back before all that is resident has changed would have been worth keeping. */
static uint64_t workingset(const struct machine *m, const struct lruvec *v, bool file)
{
	(void)m;
	(void)file;
	return lru_resident(v);
}

const struct policy policy_mglru = {
	.name = "mglru",
	.text = "generations, as Linux with MGLRU, simplified",
	.sampled = true,
	.init = init,
	.arrive = arrive,
	.begin = begin,
	.choose = choose,
	.workingset = workingset,
};

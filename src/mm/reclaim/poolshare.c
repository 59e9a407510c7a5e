/*
 * The pool's share of memory, where pages can go on to an area below it.
 *
 * A frame more for the program spares faults on the pool. A frame more for the
 * pool keeps several pages from the area below, and spares waits for that.
 * Which spares more time depends on the program; refaults tell both:
 *
 *   near   pages that came back after so few evictions that a list longer by a
 *          window W would still have had them (workingset.c)
 *   tail   pages that came back from below, and would still have been in a pool
 *          that is deeper by a quarter; of those that are below now so many are
 *          of that depth (the hand of workingset.c comes by all of them)
 *
 *   a frame for the program spares   near / W × the time of a fault
 *   a frame for the pool spares      tail / of that depth × pages in a frame × the time of a wait
 *
 * This is the marginal utility that splits a cache (Suh, Devadas and Rudolph
 * 2004), read off the two ends of the lists instead of a whole stack. From time
 * to time the share goes a step towards the greater; as the pool gets smaller
 * the pages that it passes on are younger, and come back more often: it settles
 * where the two are equal.
 *
 * Both are means over a while. Half of what a step down passes on may be wanted at
 * once: it comes back and stays. That is the price of the step and is paid once, while the
 * gain lasts; so the looks after a step do not count what comes back, but take from it
 * what the next step would cost. It is done if it pays soon.
 *
 * Promotion: a page that comes back from below, and sooner than what lies in the pool
 * would have been passed on, belongs there. A copy that stayed below would take it there
 * again each time that it leaves unchanged; so it goes.
 *
 * As long as nothing has been passed on nobody knows what a smaller pool would
 * cost. It is asked only where the pool has pages that are much older than those that
 * come back: without such, what it passes on is wanted as much as the rest. Then the
 * step is a small one, a probe. One that does not pay makes
 * the next one wait for twice as many looks, or until more depends on it than
 * did then.
 */
#include "mm/reclaim/reclaim.h"

#include "base/size.h"

#define SHARE_MIN 50         /* thousandths of the frames */
#define SHARE_START 650
#define SHARE_STEP 30
#define NEAR_AGE 1           /* buckets of age: W is half a bucket more, because a shadow is rounded down */
#define DEEPER_SHIFT 2       /* a quarter of the pool's depth */
#define LOOK_NS 250000000    /* 0.25 s between two looks, at least */
#define LATELY_SHIFT 3       /* what counts is the mean of 8 looks or so */
#define SETTLE_LOOKS 2       /* what a step down passes on and is wanted at once is a price that is paid once … */
#define SETTLE_SHIFT 2       /* … unless it takes a quarter of the time */
#define PATIENCE_MIN 3       /* looks: two to settle, one to see */
#define COLD_TIMES 8         /* older than what comes back is on the average: cold */
#define COLD_SHIFT 2         /* a quarter of the pool has to be */
#define SEEN_MAX 4096
#define PROBE_FRAMES 64      /* a first step down … */
#define HORIZON_LOOKS 32     /* … shows what a whole one costs, which must have paid by then */
#define EVENTS_MIN 32        /* of a kind, to say anything */
#define WORTH_SHIFT 8        /* less than a 256th of the time is not worth a step */
#define FAULT_NS 15000       /* 15 µs: a fault on the pool, delivery and the page that leaves for it included (docs/performance.md) */
#define PASS_NS 20000        /* 20 µs: the work of passing on the page that has to make room */
#define WAIT_NS 100000       /* 0.1 ms: a wait for the area below, until one has been measured */
#define PATIENCE_MAX 256     /* looks */

void poolshare_init(struct machine *m)
{
	m->poolshare = (struct poolshare){ .share = SHARE_START, .patience = PATIENCE_MIN, .wait_ns = WAIT_NS };
}

/* The pool refuses it, or has no need to take it. */
static bool stays_below(const struct swap_slot *slot)
{
	return slot->flags & (SLOT_REFUSED | SLOT_SAME);
}

/* A pool that is deeper by a quarter would still have a page of that age. */
static bool is_of_tail(const struct poolshare *p, uint32_t age)
{
	return age <= p->depth + MAX(p->depth >> DEEPER_SHIFT, 1);
}

bool poolshare_refault(struct machine *m, swp_t entry)
{
	struct poolshare *p = &m->poolshare;
	const struct lruvec *v = &m->lruvec[0];

	/* Linux has no such share. */
	if (machine_has_accessed(m))
		return false;
	const struct swap_area *pool = swap_pool(&m->swap), *area = &m->swap.area[swp_area(entry)];
	const struct swap_slot *slot = swap_slot_of(&m->swap, entry);
	bool below = pool != NULL && area->prio < pool->prio && !stays_below(slot);
	uint32_t age = workingset_slot_age(m, v, slot);

	if (pool != NULL && area == pool)
		p->age_sum += age - (p->age_sum >> 8);
	p->events.near += age <= NEAR_AGE;
	p->events.tail += below && is_of_tail(p, age);
	if (!below)
		return false;
	return age * workingset_bucket(v) <= lru_resident(v) + pool->store->stat.pages;
}

/* One more was seen, of this kind or not; what was long ago counts less. */
static void count_seen(uint32_t *seen, uint32_t *kind, bool is)
{
	if (*seen == SEEN_MAX) {
		*seen /= 2;
		*kind /= 2;
	}
	++*seen;
	*kind += is;
}

void poolshare_seen(struct machine *m, uint32_t age)
{
	struct poolshare *p = &m->poolshare;

	count_seen(&p->seen, &p->cold, age > COLD_TIMES * MAX(p->age_sum >> 8, 1));
}

void poolshare_seen_below(struct machine *m, const struct swap_slot *slot, uint32_t age)
{
	struct poolshare *p = &m->poolshare;

	count_seen(&p->below, &p->deeper, !stays_below(slot) && is_of_tail(p, age));
}

void poolshare_demoted(struct machine *m, uint32_t age)
{
	struct poolshare *p = &m->poolshare;

	/* Of the last 64 or so. */
	p->depth_sum += age - (p->depth_sum >> 6);
	p->depth = p->depth_sum >> 6;
	p->events.demoted++;
}

void poolshare_waited(struct machine *m, uint64_t ns, unsigned pages)
{
	struct poolshare *p = &m->poolshare;

	/* Of the last 16 waits or so. */
	p->wait_ns += ns / pages / 16;
	p->wait_ns -= p->wait_ns / 16;
}

/* n × part / whole. Counts of a large machine multiply to more than 64 bits, but only the ratio matters, and 32 bits say it well enough. */
static uint64_t share_of(uint64_t n, uint64_t part, uint64_t whole)
{
	for (; (part | whole) >> 32 != 0; part /= 2)
		whole /= 2;
	whole = MAX(whole, 1);
	return n / whole * part + n % whole * part / whole;
}

/* Time, in ns, that so many frames more for the program would have spared lately. */
static uint64_t gain_of_program(const struct machine *m, uint64_t frames)
{
	const struct poolshare_events *e = &m->poolshare.lately;
	uint64_t window = workingset_bucket(&m->lruvec[0]) * (2 * NEAR_AGE + 1) / 2;

	if (e->near < EVENTS_MIN || e->pages == 0)
		return 0;
	/* A fault of a stream brings many pages. */
	return share_of(share_of(e->near * FAULT_NS, e->faults, e->pages), MIN(frames, window), window);
}

/* The same for the pool. */
static uint64_t gain_of_pool(struct machine *m, const struct store *s, uint64_t frames)
{
	const struct poolshare *p = &m->poolshare;
	const struct poolshare_events *e = &p->lately;
	uint64_t below = swap_used(&m->swap) - swap_pool(&m->swap)->nr_used;
	uint64_t deeper = MAX(share_of(below, p->deeper, p->below), 1), pages;

	if (e->tail < EVENTS_MIN || s->stat.frames == 0)
		return 0;
	pages = share_of(frames, s->stat.pages, s->stat.frames);
	return share_of(e->tail * (p->wait_ns + PASS_NS), MIN(pages, deeper), deeper);
}

static uint64_t per_second(uint64_t gain, uint64_t ns)
{
	return share_of(gain, 1000, ns / 1000000);
}

/* By so many frames. all: what share is of. */
static void step_down(struct poolshare *p, const struct store *s, uint64_t all, uint64_t frames, uint64_t gain)
{
	uint32_t used = (uint32_t)(s->stat.frames * 1000 / MAX(all, 1)), step = (uint32_t)DIV_ROUND_UP(frames * 1000, MAX(all, 1));

	/* What the pool does not use is nobody's already. */
	p->share = MIN(p->share, used);
	p->share = p->share > SHARE_MIN + step ? p->share - step : SHARE_MIN;
	/* One after the other: the way is right. */
	if (p->down)
		p->patience = MAX(p->patience / 2, (uint32_t)PATIENCE_MIN);
	p->wait_looks = p->patience;
	p->settle = SETTLE_LOOKS;
	p->passed_on = p->back = 0;
	p->down = true;
	p->tried = gain;
}

static void step_up(struct poolshare *p, bool urgent)
{
	p->share = MIN(p->share + (urgent ? 3 : 1) * SHARE_STEP, POOLSHARE_MAX);
	if (p->down)
		p->patience = MIN(2 * p->patience, PATIENCE_MAX);
	p->wait_looks = p->patience;
	p->down = false;
}

/* The last step down says what this one costs. */
static bool pays(const struct poolshare *p, const struct store *s, uint64_t frames, uint64_t gain)
{
	uint64_t pages = share_of(frames, s->stat.pages, s->stat.frames);

	return (gain >> LATELY_SHIFT) * HORIZON_LOOKS > share_of(pages, p->back, p->passed_on) * (p->wait_ns + PASS_NS);
}

static void consider_down(struct poolshare *p, const struct store *s, uint64_t all, uint64_t step, uint64_t program)
{
	uint64_t gain = per_second(program, p->lately.ns);

	if (!p->down && p->lately.demoted < EVENTS_MIN && p->cold < p->seen >> COLD_SHIFT)
		return;
	if (!p->down)
		step_down(p, s, all, MIN(step, (uint64_t)PROBE_FRAMES), gain);
	else if (pays(p, s, step, program))
		step_down(p, s, all, step, gain);
	else
		step_up(p, false);
}

/* near: in this look. What was so lately need not be so now. */
static void decide(struct machine *m, const struct store *s, uint64_t frames, uint64_t near)
{
	struct poolshare *p = &m->poolshare;
	uint64_t step = frames * SHARE_STEP / 1000, worth = p->lately.ns >> WORTH_SHIFT;
	uint64_t program = gain_of_program(m, step), pool = gain_of_pool(m, s, step);

	if (p->wait_looks > 0)
		p->wait_looks--;
	/* Another time, another program. */
	if (per_second(program, p->lately.ns) > 2 * p->tried) {
		p->wait_looks = 0;
		p->patience = PATIENCE_MIN;
	}
	/* A pool that is not full has no use for more. */
	if (pool > program + program / 4 && pool > worth && s->stat.frames + step >= s->max_frames)
		step_up(p, pool > 4 * program);
	else if (p->wait_looks == 0 && p->settle == 0 && program > pool + pool / 4 && program > worth &&
		 2 * near >= p->lately.near >> LATELY_SHIFT && s->stat.frames <= p->frames + step / 2)
		consider_down(p, s, frames, step, program);
}

/* Older looks count less and less. */
static void follow(uint64_t *lately, uint64_t *now)
{
	*lately += *now - (*lately >> LATELY_SHIFT);
	*now = 0;
}

static void look(struct machine *m, const struct store *s, uint64_t frames, uint64_t now)
{
	struct poolshare *p = &m->poolshare;
	struct poolshare_events *e = &p->events, *lately = &p->lately;
	uint64_t near = e->near;

	e->ns = now - p->since;
	if (p->settle > 0 && e->tail * (p->wait_ns + PASS_NS) < e->ns >> SETTLE_SHIFT) {
		p->settle--;
		p->passed_on += e->demoted;
		p->back += e->tail;
		e->tail = e->demoted = 0;
	}
	e->faults = m->counter[VM_pgmajfault] - p->faults;
	e->pages = m->counter[VM_pswpin] - p->pages;
	follow(&lately->near, &e->near);
	follow(&lately->tail, &e->tail);
	follow(&lately->demoted, &e->demoted);
	follow(&lately->faults, &e->faults);
	follow(&lately->pages, &e->pages);
	follow(&lately->ns, &e->ns);
	decide(m, s, frames, near);
	p->since = now;
	p->age = m->lruvec[0].age;
	p->frames = s->stat.frames;
	p->faults = m->counter[VM_pgmajfault];
	p->pages = m->counter[VM_pswpin];
}

uint64_t poolshare_limit(struct machine *m, uint64_t frames, uint64_t now)
{
	struct poolshare *p = &m->poolshare;
	const struct swap_area *pool = swap_pool(&m->swap);

	if (pool == NULL || !swap_has_room(&m->swap, pool->prio))
		return frames * POOLSHARE_MAX / 1000;
	const struct store *s = pool->store;
	uint64_t enough = (lru_resident(&m->lruvec[0]) + s->stat.pages) >> DEEPER_SHIFT;

	/* The first look has nothing to compare with. */
	if (p->since == 0)
		p->since = now;
	if (now - p->since >= LOOK_NS && m->lruvec[0].age - p->age >= enough)
		look(m, s, frames, now);
	return frames * p->share / 1000;
}

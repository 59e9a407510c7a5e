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
 *          that is deeper by a quarter; of those that were passed on lately
 *          about `deeper` are of that depth
 *
 *   a frame for the program spares   near / W × the time of a fault
 *   a frame for the pool spares      tail / deeper × pages in a frame × the time of a wait
 *
 * This is the marginal utility that splits a cache (Suh, Devadas and Rudolph
 * 2004), read off the two ends of the lists instead of a whole stack. From time
 * to time the share goes a step towards the greater; as the pool gets smaller
 * the pages that it passes on are younger, and come back more often: it settles
 * where the two are equal.
 *
 * As long as nothing has been passed on nobody knows what a smaller pool would
 * cost. Then the step is a probe. A step down that has to be taken back makes
 * the next one wait for twice as many looks, or until more depends on it than
 * did then.
 */
#include "mm/reclaim/reclaim.h"

#include "base/size.h"

#define SHARE_MIN 50         /* thousandths of the frames */
#define SHARE_START 650
#define SHARE_STEP 30
#define NEAR_AGE 2           /* buckets of age: W is half a bucket more, because a shadow is rounded down */
#define DEEPER_SHIFT 2       /* a quarter of the pool's depth */
#define LOOK_NS 250000000    /* 0.25 s between two looks, at least */
#define EVENTS_MIN 32        /* of a kind, to say anything */
#define WORTH_SHIFT 8        /* less than a 256th of the time is not worth a step */
#define FAULT_NS 10000       /* 10 µs: a fault on the pool, delivery included (docs/performance.md) */
#define PASS_NS 20000        /* 20 µs: the work of passing on the page that has to make room */
#define WAIT_NS 100000       /* 0.1 ms: a wait for the area below, until one has been measured */
#define PATIENCE_MAX 256     /* looks */

void poolshare_init(struct machine *m)
{
	m->poolshare = (struct poolshare){ .share = SHARE_START, .patience = 1, .wait_ns = WAIT_NS };
}

void poolshare_refault(struct machine *m, uint8_t age, bool demoted)
{
	struct poolshare *p = &m->poolshare;

	p->near += age <= NEAR_AGE;
	p->tail += demoted && age <= p->depth + MAX(p->depth >> DEEPER_SHIFT, 1u);
}

void poolshare_demoted(struct machine *m, uint8_t age)
{
	struct poolshare *p = &m->poolshare;

	/* Follows the last 64 or so; those that are wanted least come first, and wrap first. */
	p->depth_sum += age - (p->depth_sum >> 6);
	p->depth = (uint8_t)(p->depth_sum >> 6);
	p->demoted++;
}

void poolshare_waited(struct machine *m, uint64_t ns, unsigned pages)
{
	struct poolshare *p = &m->poolshare;

	/* Of the last 16 waits or so. */
	p->wait_ns += ns / pages / 16;
	p->wait_ns -= p->wait_ns / 16;
}

/* Time, in ns, that a thousand frames more for the program would have spared since the last look. */
static uint64_t gain_of_program(const struct machine *m, uint64_t faults, uint64_t pages)
{
	const struct poolshare *p = &m->poolshare;
	uint64_t window = workingset_bucket(&m->lruvec[0]) * (2 * NEAR_AGE + 1) / 2;

	if (p->near < EVENTS_MIN || pages == 0)
		return 0;
	/* A fault of a stream brings many pages. */
	return p->near * FAULT_NS * faults / pages * 1000 / window;
}

/* The same for the pool. passed: ages that have gone by. */
static uint64_t gain_of_pool(const struct machine *m, const struct store *s, uint64_t passed)
{
	const struct poolshare *p = &m->poolshare;
	uint64_t depth = MAX((uint64_t)p->depth >> DEEPER_SHIFT, 1) * workingset_bucket(&m->lruvec[0]);
	uint64_t deeper = MAX(p->demoted * depth / MAX(passed, 1), EVENTS_MIN);

	if (p->tail < EVENTS_MIN || s->stat.frames == 0)
		return 0;
	return p->tail * (p->wait_ns + PASS_NS) * 1000 / deeper * s->stat.pages / s->stat.frames;
}

/* frames: what share is of. */
static void step_down(struct machine *m, const struct store *s, uint64_t frames, uint64_t gain)
{
	struct poolshare *p = &m->poolshare;
	uint32_t used = (uint32_t)(s->stat.frames * 1000 / MAX(frames, 1));

	/* What the pool does not use is nobody's already. */
	p->share = MIN(p->share, used);
	p->share = p->share > SHARE_MIN + SHARE_STEP ? p->share - SHARE_STEP : SHARE_MIN;
	/* One after the other: the way is right. */
	if (p->down)
		p->patience = MAX(p->patience / 2, 1u);
	p->wait_looks = p->patience;
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

static uint64_t per_second(uint64_t gain, uint64_t ns)
{
	return gain * 1000 / MAX(ns / 1000000, 1);
}

static void decide(struct machine *m, const struct store *s, uint64_t frames, uint64_t ns, uint64_t passed)
{
	struct poolshare *p = &m->poolshare;
	uint64_t program = gain_of_program(m, m->counter[VM_pgmajfault] - p->faults, m->counter[VM_pswpin] - p->pages);
	uint64_t pool = gain_of_pool(m, s, passed);
	/* Of a step: thousandths of a thousand frames. */
	uint64_t step = frames * SHARE_STEP / 1000, worth = ns >> WORTH_SHIFT;

	if (p->wait_looks > 0)
		p->wait_looks--;
	/* Another time, another program. */
	if (per_second(program, ns) > 2 * p->tried) {
		p->wait_looks = 0;
		p->patience = 1;
	}
	if (pool > program + program / 4 && pool * step / 1000 > worth)
		step_up(p, pool > 4 * program);
	else if (p->wait_looks == 0 && program > pool + pool / 4 && program * step / 1000 > worth &&
		 s->stat.frames <= p->frames + step / 2)
		step_down(m, s, frames, per_second(program, ns));
}

uint64_t poolshare_limit(struct machine *m, uint64_t frames, uint64_t now)
{
	struct poolshare *p = &m->poolshare;
	const struct swap_area *pool = swap_pool(&m->swap);
	const struct lruvec *v = &m->lruvec[0];

	if (pool == NULL || !swap_has_room(&m->swap, pool->prio))
		return frames * POOLSHARE_MAX / 1000;
	const struct store *s = pool->store;
	uint64_t passed = v->age - p->age, enough = (lru_resident(v) + s->stat.pages) >> DEEPER_SHIFT;

	if (now - p->since >= LOOK_NS && passed >= enough) {
		decide(m, s, frames, now - p->since, passed);
		p->since = now;
		p->age = v->age;
		p->frames = s->stat.frames;
		p->faults = m->counter[VM_pgmajfault];
		p->pages = m->counter[VM_pswpin];
		p->near = p->tail = p->demoted = 0;
	}
	return frames * p->share / 1000;
}

/*
 * One touch of a page:
 *
 *      MMU: a TLB has it ........................ nothing else happens
 *           the tables have it .................. the walker sets bits
 *           fault ─► mm_fault ─► done ........... the touch comes again
 *                            ─► no frame ........ direct reclaim, 16 tries without a page ─► OOM killer
 *                            ─► invalid ......... counted; the touch is left out
 */
#include "sim/engine.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/backing/readahead.h"

#define ROOM_TRIES 16     /* MAX_RECLAIM_RETRIES */
#define FLUSH_PAGES 1024  /* of the flusher's, at once */
#define TOUCH_TRIES 64    /* faults that one touch may take before the model must be wrong */
#define DEMAND_PAGES 512  /* mapped at once where the trace maps nothing */
#define AHEAD 8           /* events between fetching what one needs and replaying it; a power of two */

static enum mmu_access mmu_access_of(unsigned flags)
{
	if (flags & TRACE_W)
		return MMU_WRITE;
	return flags & TRACE_X ? MMU_EXEC : MMU_READ;
}

static enum fault_access fault_access_of(enum mmu_access how)
{
	static const enum fault_access access[] = { [MMU_READ] = FAULT_READ, [MMU_WRITE] = FAULT_WRITE, [MMU_EXEC] = FAULT_EXEC };

	return access[how];
}

/* Pages that leave only by being written: the disk is given them, and whoever needs a frame waits for it. */
static bool wait_for_flusher(struct sim *s)
{
	unsigned n = file_flush(&s->m, NULL, FLUSH_PAGES);

	*s->clock = MAX(*s->clock, s->disk.wire_free);
	return n > 0;
}

bool sim_make_room(struct sim *s, const struct sim_task *t, unsigned *tries)
{
	struct machine *m = &s->m;
	bool global = machine_charged(m) < m->limit, progress = false;

	sim_native_engage(s);
	if (machine_has_accessed(m)) {
		progress = reclaim_direct(m, m->vm.reclaim_batch, global) > 0;
	} else {
		COUNT(m, allocstall);
		reclaim_batch(m, false, &progress);
	}
	if (!progress)
		progress = wait_for_flusher(s);
	*tries = progress ? 0 : *tries + 1;
	if (*tries <= ROOM_TRIES)
		return true;
	*tries = 0;
	if (!sim_oom(s, global)) {
		s->stopped = true;
		return false;
	}
	return t->end == SIM_RUNS;
}

/*
 * The trace maps nothing, so what is touched is there: a chunk around the page, as far as it is free. 0, -ENOMEM (the
 * machine's), or -EEXIST: the page is mapped, and does not allow this.
 */
static int map_on_demand(struct sim_task *t, vpn_t vpn)
{
	vpn_t start = { ALIGN_DOWN(vpn.n, DEMAND_PAGES) }, end = { start.n + DEMAND_PAGES };
	struct vma *above = vma_find_above(&t->mm.vmas, vpn);
	struct vma *below = above != NULL ? TAILQ_PREV(above, vma_list, link) : TAILQ_LAST(&t->mm.vmas.list, vma_list);

	if (above != NULL && above->start.n <= vpn.n)
		return -EEXIST;
	if (above != NULL)
		end.n = MIN(end.n, above->start.n);
	if (below != NULL)
		start.n = MAX(start.n, below->end.n);
	return mm_map(&t->mm, start, end, VMA_READ | VMA_WRITE | VMA_EXEC, NULL, 0);
}

/* What kind of fault it was, by what the manager counted. */
static enum sim_fault kind_of(const struct machine *m, const uint64_t *before, bool major)
{
	if (major)
		return SIM_MAJOR;
	if (m->counter[VM_pgsoft] != before[0])
		return SIM_SOFT;
	return m->counter[VM_pgcow] != before[1] ? SIM_COW : SIM_MINOR;
}

static double cost_of(const struct sim_config *c, enum sim_fault kind)
{
	const uint64_t ns[] = { [SIM_MINOR] = c->minor_ns, [SIM_SOFT] = c->soft_ns, [SIM_COW] = c->cow_ns, [SIM_MAJOR] = c->major_ns };

	return (double)ns[kind];
}

/* True: mm_fault can be tried again. False: it has its answer, or the task was killed for it. */
static bool fault_again(struct sim *s, struct sim_task *t, vpn_t vpn, enum fault_result r, unsigned *tries)
{
	int err = -ENOMEM;

	if (r == FAULT_INVALID && t->on_demand)
		err = map_on_demand(t, vpn);
	else if (r != FAULT_NOMEM)
		return false;
	return err == 0 || (err == -ENOMEM && sim_make_room(s, t, tries));
}

/* The live engine's handler does the same (live/handler.c). */
static void throttle(struct sim *s)
{
	uint32_t wanted = machine_has_accessed(&s->m) ? 0 : kswapd_throttle(&s->m, s->m.local_node, RA_MAX);

	if (wanted == 0)
		return;
	COUNT(&s->m, allocstall);
	s->m.ops->wake_kswapd(&s->m, s->m.local_node);
	sim_wait_for_kswapd(s, s->m.local_node, wanted);
}

/* True: the touch can come again. False: it is left out. */
static bool fault(struct sim *s, struct sim_task *t, vpn_t vpn, enum mmu_access how)
{
	struct machine *m = &s->m;
	const uint64_t before[] = { m->counter[VM_pgsoft], m->counter[VM_pgcow] };
	struct fault_report report = { 0 };
	unsigned tries = 0;
	enum fault_result r;
	double began;

	/* Not afterwards: kswapd could take the page before the touch comes again, and so for ever. */
	sim_background(s, *s->clock);
	began = *s->clock;
	sim_native_touched(s, t, vpn);
	throttle(s);

	do {
		r = mm_fault(&t->mm, vpn, fault_access_of(how), &report);
	} while (fault_again(s, t, vpn, r, &tries));
	/* A task that was killed for it has no error: its events are passed over from now on. */
	if (r == FAULT_NOMEM || t->end != SIM_RUNS)
		return false;
	COUNT(m, pgfault);
	if (r == FAULT_INVALID) {
		t->invalid++;
		return false;
	}
	ASSERT(r != FAULT_LOST);
	enum sim_fault kind = kind_of(m, before, report.major);

	*s->clock += cost_of(&s->config, kind);
	t->faults[kind]++;
	t->stall_ns += *s->clock - began;
	t->rss_max = MAX(t->rss_max, t->mm.rss + t->mm.rss_file);
	sim_note_use(s);
	hist_add(&s->fault_ns, (uint64_t)(*s->clock - began));
	return t->end == SIM_RUNS;
}

/* Yardsticks want to hear of every touch, not only of those that walk the tables. */
static void tell_policy(struct machine *m, pfn_t pfn)
{
	struct frame *f = pfn_frame(&m->phys, pfn);

	if (f->flags & FRAME_LRU)
		m->policy->touch(m, lruvec_of(m, f), f);
}

/* The use by the access that faulted, which walked the tables once more, is forgotten. */
static void forget_use(struct sim *s, struct sim_task *t, vpn_t vpn)
{
	if (s->m.ops->test_and_clear_accessed != NULL)
		s->m.ops->test_and_clear_accessed(&s->m, &t->mm, vpn, pt_find(&t->mm.pt, vpn));
}

/* A touch that faults, until it has been made: 0 or as sim_touch. */
static __attribute__((noinline)) int touch_faults(struct sim *s, struct sim_task *t, struct sim_cpu *c, vpn_t vpn,
						  enum mmu_access how, uint64_t n, pfn_t *pfn)
{
	unsigned tries = 0;

	do {
		sim_on_cpu(s, c);
		if (!fault(s, t, vpn, how))
			return t->end == SIM_RUNS ? -EFAULT : -ESRCH;
		if (++tries > TOUCH_TRIES)
			return -EINVAL;
	} while (mmu_touch_again(c->mmu, vpn, how, n, pfn, &c->now) > MMU_WALKED);
	if (!s->config.fault_young)
		forget_use(s, t, vpn);
	return 0;
}

/* A touch that the front of the MMU does not know. */
static inline int touch_slow(struct sim *s, struct sim_task *t, struct sim_cpu *c, vpn_t vpn, enum mmu_access how, uint64_t n,
			     pfn_t *pfn)
{
	enum mmu_result r = mmu_touch_slow(c->mmu, vpn, how, n, pfn, &c->now);

	return r <= MMU_WALKED ? 0 : touch_faults(s, t, c, vpn, how, n, pfn);
}

/* From now on it is this task that the CPU works for. */
static void run_on(struct sim *s, struct sim_task *t, struct sim_cpu *c)
{
	s->clock = &c->now;
	if (likely(c->current == t))
		return;
	mmu_switch(c->mmu, &t->mm.pt, t->asid);
	c->current = t;
	t->cpus |= UINT64_C(1) << (c - s->cpu);
}

int sim_touch(struct sim *s, struct sim_task *t, struct sim_cpu *c, vpn_t vpn, enum mmu_access how, uint64_t n,
	      pfn_t *pfn)
{
	run_on(s, t, c);
	if (!mmu_hit(c->mmu, vpn, how, n, pfn, &c->now)) {
		int err = touch_slow(s, t, c, vpn, how, n, pfn);

		if (err != 0)
			return err;
	}
	t->touches += n;
	s->touches += n;
	return 0;
}

/* What came of a touch, for the replay: if it was left out, or its task was killed, that goes on. */
static int replay_error(int err, const char **error)
{
	if (err == -EINVAL)
		*error = "a touch that faults for ever: the model is wrong";
	return err == -EFAULT || err == -ESRCH ? 0 : err;
}

/*
 * A walk waits for the entry in its leaf table, which is nowhere near, as long as for all the rest of a fault, and a fault
 * for the slot that the entry names. Here the host's CPU is told in good time: of the entry first, and when that is there,
 * of the slot. entry: of the next AHEAD events; what is there may be no entry any more.
 */
static inline void fetch_ahead(struct sim *s, struct sim_task *t, uint64_t vpn, const pte_t **entry, long i)
{
	const pte_t *near = entry[(i + AHEAD / 2) % AHEAD];

	entry[i % AHEAD] = pt_prefetch(&t->mm.pt, (vpn_t){ vpn });
	if (near != NULL && pte_is_swap(*near))
		swap_prefetch(&s->m.swap, pte_swp(*near));
}

/* Do two touches come from the same thread? */
static bool same_thread(const struct trace_event *a, const struct trace_event *b)
{
	return a->op == b->op && a->thread == b->thread && a->task == b->task;
}

/* Those of n events, from the first on, which the front of the MMU knows and which are of the thread of `like`: how many. */
static __attribute__((noinline)) long hits(struct sim *s, struct sim_task *t, struct sim_cpu *c,
					   const struct trace_event *e, long n, const struct trace_event *like, double own)
{
	const struct trace_event *first = e, *end = e + n;
	uint64_t touches = 0;
	pfn_t pfn;

	for (; e < end && same_thread(e, like); e++) {
		if (!mmu_hit(c->mmu, (vpn_t){ e->vpn }, mmu_access_of(e->flags), e->n, &pfn, &c->now))
			break;
		sim_pass_own_time(t, c, (double)e->n * own);
		touches += e->n;
	}
	t->touches += touches;
	s->touches += touches;
	return e - first;
}

long sim_access_row(struct sim *s, const struct trace_event *e, long n, long fetched, const char **error, int *err)
{
	struct sim_task *t = e->op == TRACE_ACCESS && e->vpn < s->vpn_end ? sim_task(s, e->task) : NULL;

	*err = 0;
	if (t == NULL || t->end != SIM_RUNS || s->m.policy->foresight)
		return 0;
	bool every = s->m.policy->every_touch;
	struct sim_cpu *c = sim_cpu_of(s, t, e->thread);
	double own = s->own_time ? 0 : s->config.access_ns;
	const pte_t *entry[AHEAD] = { NULL };
	pfn_t pfn;
	long i;

	run_on(s, t, c);
	for (i = 0; i < n; i++) {
		if (i + AHEAD < fetched)
			fetch_ahead(s, t, e[i + AHEAD].vpn, entry, i);
		else if (!every)
			i += hits(s, t, c, &e[i], n - i, e, own);
		if (i == n || !same_thread(&e[i], e))
			break;
		enum mmu_access how = mmu_access_of(e[i].flags);

		if (unlikely(!mmu_hit(c->mmu, (vpn_t){ e[i].vpn }, how, e[i].n, &pfn, &c->now))) {
			if (unlikely(e[i].vpn >= s->vpn_end))
				break;
			*err = touch_slow(s, t, c, (vpn_t){ e[i].vpn }, how, e[i].n, &pfn);
			if (unlikely(*err != 0)) {
				*err = replay_error(*err, error);
				return i + 1;
			}
		}
		sim_pass_own_time(t, c, (double)e[i].n * own);
		t->touches += e[i].n;
		s->touches += e[i].n;
		if (unlikely(every))
			tell_policy(&s->m, pfn);
	}
	return i;
}

int sim_access(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error)
{
	struct sim_cpu *c = sim_cpu_of(s, t, e->thread);
	pfn_t pfn;
	int err = sim_touch(s, t, c, (vpn_t){ e->vpn }, mmu_access_of(e->flags), e->n, &pfn);

	if (unlikely(err != 0))
		return replay_error(err, error);
	if (!s->own_time)
		sim_pass_own_time(t, c, (double)e->n * s->config.access_ns);
	if (unlikely(s->m.policy->every_touch))
		tell_policy(&s->m, pfn);
	return 0;
}

/*
 * Reclaim on a machine with accessed bits, as Linux does it (mm/vmscan.c of 6.12: shrink_node, do_try_to_free_pages,
 * balance_pgdat).
 *
 *      direct    a fault found no frame: passes over the nodes, each looking at twice as much of the lists, until
 *                SWAP_CLUSTER_MAX pages have come back
 *      kswapd    free frames are below LOW: the same in the background until they are above HIGH
 *      limit     a cgroup is at its limit: as direct, and nobody has done it before
 *
 * The policy hands out pages (policy.h). Here they are unmapped from every address space that has them, and
 *
 *      anonymous           are written to an area, or dropped if the copy there is still good
 *      file, clean         are dropped; what remains is a shadow that tells when
 *      file, dirty         are given to the flusher and go back on the lists
 *      shared anonymous    as anonymous; the file without a disk names the slot
 *
 * One step is one pass at one priority, so that an engine with a clock of its own can put faults between them.
 */
#include "mm/reclaim/reclaim.h"

#include "base/assert.h"
#include "mm/filemap.h"
#include "mm/huge.h"
#include "mm/user_page.h"

static unsigned evict_anon(struct machine *m, struct frame **frames, unsigned n, unsigned *written)
{
	struct swap_io io[SWAP_CLUSTER_MAX];
	unsigned ready = 0;

	for (unsigned i = 0; i < n; i++) {
		/* A huge page leaves in small ones; those that do not fit into this batch are next. */
		if (!(frames[i]->flags & FRAME_HUGE) || huge_split(m, frames[i]) == 0)
			frames[ready++] = frames[i];
		else
			m->policy->arrive(m, lruvec_of(m, frames[i]), frames[i], ARRIVE_BACK);
	}
	n = ready;
	for (unsigned i = 0; i < n; i++) {
		user_page_unmap(m, frames[i]);
		io[i] = (struct swap_io){ .frame = frames[i], .page = frame_home(&m->phys, frames[i]) };
		user_page_lock(frames[i]);
	}
	unsigned freed = reclaim_write(m, io, n, NULL);

	for (unsigned i = 0; i < n; i++)
		*written += io[i].err == 0 && !io[i].clean;
	return freed;
}

/* Pages that mlock holds go where nobody looks at them again, until they are unmapped. Returns how many are left. */
static unsigned cull_mlocked(struct machine *m, struct lruvec *v, struct frame **frames, unsigned n)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++) {
		if (user_page_mlocked(m, frames[i]))
			lru_add(v, frames[i], LRU_UNEVICTABLE);
		else
			frames[left++] = frames[i];
	}
	return left;
}

/* One pass over the lists of a node. */
static void shrink_node(struct machine *m, unsigned node, struct scan *s, bool kswapd)
{
	struct lruvec *v = &m->lruvec[node];
	struct frame *frames[SWAP_CLUSTER_MAX];

	s->scanned = 0;
	s->done = false;
	s->may_swap = swap_has_room(&m->swap, SWAP_PRIO_ALL);
	uint32_t reclaimed = s->reclaimed;

	STEP(m, PASS, .node = (uint8_t)node, .priority = s->priority, .arg = kswapd);
	if (m->policy->begin != NULL)
		m->policy->begin(m, v, s);
	while (!s->done) {
		uint32_t before = s->scanned;
		unsigned n = m->policy->choose(m, v, s, frames, m->vm.reclaim_batch);
		struct scan_result r = { .chosen = n };

		machine_worked(m, MM_SCAN, s->scanned - before);
		n = r.chosen = cull_mlocked(m, v, frames, n);
		if (n == 0)
			continue;
		r.file = frame_on_disk(frames[0]);
		machine_worked(m, MM_UNMAP, n);
		r.reclaimed = r.file ? file_evict(m, frames, n) : evict_anon(m, frames, n, &r.written);
		s->reclaimed += r.reclaimed;
		if (m->policy->result != NULL)
			m->policy->result(m, v, s, &r);
		else if (s->reclaimed >= s->target)
			break;
	}
	if (kswapd) {
		COUNT_N(m, pgscan_kswapd, s->scanned);
	} else {
		COUNT_N(m, pgscan_direct, s->scanned);
	}
	STEP(m, PASS_END, .node = (uint8_t)node, .priority = s->priority, .arg = s->reclaimed - reclaimed);
}

static void end_all(struct machine *m)
{
	for (unsigned node = 0; node < m->phys.nr_nodes; node++)
		if (m->policy->end != NULL)
			m->policy->end(m, &m->lruvec[node]);
}

static unsigned reclaim_passes(struct machine *m, struct scan *s)
{
	for (int priority = DEF_PRIORITY; priority >= 0 && s->reclaimed < s->target; priority--) {
		s->priority = (uint8_t)priority;
		s->proportional = s->global && priority == DEF_PRIORITY;
		for (unsigned node = 0; node < m->phys.nr_nodes; node++)
			shrink_node(m, node, s, false);
	}
	end_all(m);
	return s->reclaimed;
}

unsigned reclaim_direct(struct machine *m, unsigned target, bool global)
{
	struct scan s = { .target = target, .global = global };

	ASSERT(!m->reclaiming);
	m->reclaiming = true;
	COUNT(m, allocstall);
	unsigned freed = reclaim_passes(m, &s);

	/* Linux looks once more at groups that the first walk may have passed over; there are none, but it looks. */
	if (freed == 0)
		freed = reclaim_passes(m, &s);
	if (freed == 0 && s.skipped) {
		s = (struct scan){ .target = target, .global = global, .force = true };
		freed = reclaim_passes(m, &s);
	}
	m->reclaiming = false;
	for (unsigned node = 0; freed > 0 && node < m->phys.nr_nodes; node++)
		m->kswapd[node].failures = 0;
	COUNT_N(m, pgsteal_direct, freed);
	return freed;
}

static bool node_balanced(const struct machine *m, unsigned node)
{
	for (unsigned i = 0; i < m->phys.nr_zones; i++) {
		const struct zone *z = &m->phys.zones[i];

		if (z->node == node && z->managed > 0 && z->free >= z->wmark[WMARK_HIGH])
			return true;
	}
	return false;
}

static uint32_t node_target(const struct machine *m, unsigned node)
{
	uint32_t target = 0;

	for (unsigned i = 0; i < m->phys.nr_zones; i++)
		if (m->phys.zones[i].node == node)
			target += MAX(m->phys.zones[i].wmark[WMARK_HIGH], SWAP_CLUSTER_MAX);
	return target;
}

enum kswapd_state shrink_balance(struct machine *m, unsigned node)
{
	struct kswapd *k = &m->kswapd[node];

	if (k->failures >= KSWAPD_FAILURES)
		return KSWAPD_HOPELESS;
	if (k->priority == 0) {
		k->priority = DEF_PRIORITY;
		k->reclaimed = 0;
	}
	if (node_balanced(m, node)) {
		k->priority = 0;
		k->failures = 0;
		if (m->policy->end != NULL)
			m->policy->end(m, &m->lruvec[node]);
		return KSWAPD_BALANCED;
	}
	struct scan s = { .priority = k->priority, .global = true, .target = node_target(m, node) };

	ASSERT(!m->reclaiming);
	m->reclaiming = true;
	shrink_node(m, node, &s, true);
	m->reclaiming = false;
	COUNT_N(m, pgsteal_kswapd, s.reclaimed);
	k->reclaimed += s.reclaimed;
	/* Enough looked at, and something found: the same again. Else look at more. */
	if (s.scanned >= s.target && s.reclaimed > 0)
		return KSWAPD_WORKING;
	if (--k->priority == 0) {
		k->failures = k->reclaimed == 0 ? k->failures + 1 : 0;
		if (m->policy->end != NULL)
			m->policy->end(m, &m->lruvec[node]);
	}
	return KSWAPD_WORKING;
}

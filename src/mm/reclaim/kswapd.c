/* The background reclaimer: keeps free frames above LOW so that a fault finds one (mm/vmscan.c balance_pgdat). */
#include <errno.h>

#include "mm/reclaim/reclaim.h"

#define THROTTLE_BATCH 16 /* frames beyond those that a fault waits for: half a read-ahead window */

/* Stores give frames back by compaction when eviction alone does not get on. */
static uint32_t shrink_stores(struct machine *m)
{
	uint32_t freed = 0;

	for (unsigned i = 0; i < m->swap.nr_areas; i++) {
		struct store *store = m->swap.area[i].store;

		if (store->ops->shrink != NULL)
			freed += store->ops->shrink(store);
	}
	return freed;
}

#define STOPPED 1

static bool balanced(const struct machine *m, unsigned node)
{
	return phys_free_frames(&m->phys, node) >= phys_wmark(&m->phys, node, WMARK_HIGH);
}

/* One batch without accessed bits. False: nothing came of it. */
static bool sampled_step(struct machine *m)
{
	bool progress = demote_step(m);

	reclaim_batch(m, true, &progress);
	return progress || shrink_stores(m) > 0;
}

static int balance(struct machine *m, unsigned node, bool (*stop)(void *ctx), void *ctx)
{
	unsigned failures = 0;

	while (!balanced(m, node)) {
		if (stop != NULL && stop(ctx))
			return STOPPED;
		if (m->reclaiming) {
			m->ops->relax(m);
			continue;
		}
		if (sampled_step(m))
			failures = 0;
		else if (++failures >= KSWAPD_FAILURES)
			return -ENOMEM;
		/* Between batches the faults that queued up come first. */
		m->ops->relax(m);
	}
	return 0;
}

enum kswapd_state kswapd_step(struct machine *m, unsigned node)
{
	struct kswapd *k = &m->kswapd[node];

	if (machine_has_accessed(m))
		return shrink_balance(m, node);
	if (k->failures >= KSWAPD_FAILURES)
		return KSWAPD_HOPELESS;
	if (balanced(m, node)) {
		k->failures = 0;
		return KSWAPD_BALANCED;
	}
	k->failures = sampled_step(m) ? 0 : k->failures + 1;
	return KSWAPD_WORKING;
}

uint32_t kswapd_throttle(const struct machine *m, unsigned node, uint32_t window)
{
	/* kswapd stops at HIGH. */
	uint32_t high = phys_wmark(&m->phys, node, WMARK_HIGH);
	uint32_t enough = MIN(phys_wmark(&m->phys, node, WMARK_MIN) + window, high);

	return phys_free_frames(&m->phys, node) < enough ? MIN(enough + THROTTLE_BATCH, high) : 0;
}

int kswapd_balance(struct machine *m, unsigned node, bool (*stop)(void *ctx), void *ctx)
{
	int err;

	do {
		err = balance(m, node, stop, ctx);
		/* Others take frames while this gives up the lock. */
		reclaim_finish(m);
	} while (err == 0 && !balanced(m, node));
	return MIN(err, 0);
}

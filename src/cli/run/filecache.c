/*
 * A program's code and files are pages, too. In a container the limit holds for them as well; the kernel drops them when it is
 * reached, because nothing else is there to drop, and reads them back when they are wanted. Steward counts what is mapped at
 * the moment, which gets less as they are dropped; its own pages then take the place, and the program waits for its code. A
 * runtime of a hundred MiB (node, java) ends up with nothing but that.
 *
 * So a run in a limit looks how many file pages come back soon after they were dropped (workingset_refault_file), and leaves
 * them a part of the budget:
 *
 *     lost    refaults × what a read costs, as a share of the time
 *     stall   the share of its time that the process waits for its other pages, of the one that waits most
 *
 *     lost above LOST_MIN and above half of the stall    a 32nd of the budget more, but not more than half in all
 *     lost below an eighth of the stall, or nothing lost for CALM    a 64th less
 *
 * What is left belongs to nobody: left_pages in the ledger's law. If less is free the run is overdrawn, and the processes that can
 * give do (live/share.c); there is no next step before they have.
 */
#include "cli/run/filecache.h"

#define LOOK_NS 250000000   /* 0.25 s */
#define CALM_NS 5000000000  /* 5 s */
#define READ_NS 10000       /* 10 us: of a page that an SSD reads with its neighbours; on a slower disk the steps come later than they could */
#define LOST_MIN 20         /* thousandths of the time: less is not worth a step */
#define STEP_PART 32        /* of the budget, one in so many at a step */
#define MOST_PART 2

void filecache_init(struct filecache *p, struct ledger *l, const struct cgroup_memory *cgroup)
{
	uint64_t refaults;

	*p = (struct filecache){ .ledger = l, .cgroup = cgroup };
	p->watches = cgroup_file_refaults("", cgroup, &refaults);
}

static uint64_t worst_stall(const struct ledger *l)
{
	uint64_t worst = 0;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		if (atomic_load(&l->slot[i].pid) != 0)
			worst = MAX(worst, atomic_load(&l->slot[i].stall));
	return worst;
}

static void leave(struct filecache *p, uint64_t left)
{
	ledger_leave(p->ledger, (int64_t)left - (int64_t)p->left_pages);
	p->left_pages = left;
	p->most_pages = MAX(p->most_pages, left);
}

void filecache_look(struct filecache *p, uint64_t refaults, uint64_t now)
{
	struct ledger *l = p->ledger;
	uint64_t came = refaults - MIN(refaults, p->refaults), dt = now - p->looked_ns;
	bool first = p->looked_ns == 0;

	p->refaults = refaults;
	p->looked_ns = now;
	if (first || dt == 0)
		return;
	uint64_t lost = came * READ_NS * 1000 / dt, stall = worst_stall(l), ram = atomic_load(&l->ram_pages), left = p->left_pages;

	if (lost >= LOST_MIN) {
		p->missed_ns = now;
		p->calm_ns = 0;
	} else if (p->calm_ns == 0) {
		p->calm_ns = now;
	}
	atomic_store(&l->files_missed, p->missed_ns != 0 && now - p->missed_ns < CALM_NS);
	if (lost >= LOST_MIN && lost > stall / 2) {
		if (ledger_overdrawn(l) == 0)
			leave(p, MIN(left + ram / STEP_PART, MAX(left, ram / MOST_PART)));
	} else if (left > 0 && (lost < stall / 8 || (p->calm_ns != 0 && now - p->calm_ns >= CALM_NS))) {
		leave(p, left - MIN(left, ram / STEP_PART / 2));
	}
}

void filecache_tick(struct filecache *p, uint64_t now)
{
	uint64_t refaults;

	if (!p->watches || (p->looked_ns != 0 && now - p->looked_ns < LOOK_NS))
		return;
	if (cgroup_file_refaults("", p->cgroup, &refaults))
		filecache_look(p, refaults, now);
}

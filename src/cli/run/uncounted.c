/*
 * Processes count what they map. A limit around the run counts more: shared memory that no living process maps any more (the shared
 * buffers of a database whose servers have come and gone), files in memory that are written and never mapped, pages that fork shares and that were
 * copied since the last look. When a limit is reached it does not matter whose they are.
 *
 * So where there is a limit the kernel is asked what it keeps there of anonymous and shared memory, and that is compared with the budget:
 *
 *     over = kept now − what is too much: the budget and what was kept before the run, or WALL below the limit if that is more
 *
 *     over above TOLERANCE    so much of the budget is left for it that the middle of the tolerance is reached, and processes have to give
 *                             it (live/share.c); there is no next step before they have
 *     over below 0            half of what is free is given back, as far as it was taken
 *
 * In between nothing happens: the books of processes are a fifth of a second old, and the kernel's not of one moment either. What else is kept in the
 * same limit and grows counts as well; as long as the limit is far nothing does. The kernel's own memory is left out, most of which it can drop.
 */
#include "cli/run/uncounted.h"

#define LOOK_NS 100000000                            /* 0.1 s */
#define WALL (8 * MIB >> PAGE_SHIFT)                 /* what should be left around a budget */
#define TOLERANCE ((int64_t)(2 * MIB >> PAGE_SHIFT)) /* a quarter of it */
#define MOST_PART 2                                  /* of the budget, one in so many at most: processes could not go on with less */

static bool read_kept(const struct uncounted *u, uint64_t *pages)
{
	uint64_t bytes;

	if (!cgroup_kept("", u->cgroup, &bytes))
		return false;
	*pages = bytes >> PAGE_SHIFT;
	return true;
}

void uncounted_init(struct uncounted *u, struct ledger *l, const struct cgroup_memory *cgroup)
{
	*u = (struct uncounted){ .ledger = l, .cgroup = cgroup };
	u->watches = read_kept(u, &u->before);
}

static void leave(struct uncounted *u, uint64_t left)
{
	struct ledger *l = u->ledger;

	ledger_leave(l, (int64_t)left - (int64_t)l->uncounted_pages);
	l->uncounted_pages = left;
	u->most_pages = MAX(u->most_pages, left);
}

void uncounted_look(struct uncounted *u, uint64_t kept)
{
	struct ledger *l = u->ledger;
	uint64_t ram = atomic_load(&l->ram_pages), left = l->uncounted_pages, most = MAX(left, ram / MOST_PART);
	uint64_t limit = u->cgroup->limit >> PAGE_SHIFT, much = MAX(u->before + ram, limit - MIN(limit, WALL));
	int64_t over = (int64_t)kept - (int64_t)much;

	if (over > TOLERANCE) {
		if (ledger_overdrawn(l) == 0)
			leave(u, MIN(left + (uint64_t)(over - TOLERANCE / 2), most));
	} else if (over < 0 && left > 0) {
		leave(u, left - MIN(left, DIV_ROUND_UP((uint64_t)-over, 2)));
	}
}

void uncounted_tick(struct uncounted *u, uint64_t now)
{
	uint64_t kept;

	if (!u->watches || (u->looked_ns != 0 && now - u->looked_ns < LOOK_NS))
		return;
	u->looked_ns = now;
	if (read_kept(u, &kept))
		uncounted_look(u, kept);
}

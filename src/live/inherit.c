/*
 * What a child has from a parent that fits.
 *
 * Nobody counts what such a parent and its child share but the parent: all of it is in its grant. The child's part of the budget is what the
 * kernel copies, when one of both writes. As much private memory as the parent has the child may come to copy, so it takes that from
 * the budget, if it is free; then it fits as well, and nothing more is to be done.
 *
 * If it is not, the child gets an engine before it runs, once there are pages for that one (share_begin). What it inherits is not
 * taken into the manager's books, but protected: reading it costs nothing. The first write to a page is a fault, which waits for a frame as all others do,
 * and from then on the page is the child's, to be evicted like any other (the kernel finds it present, and mm_fault then takes it
 * for what it is). If the parent ends, or gets an engine and evicts, there is nobody else to count what is left, and the child does.
 *
 * Not for a parent that is small, nor where many children share a large one (a server with a hundred of them: they will not copy it all, or
 * nothing helps), nor if the last child called exec at once: such children stay without an engine, and what they write to is counted when they
 * first map memory.
 */
#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"
#include "mm/reclaim/reclaim.h"

#define SMALL_PAGES 512 /* 2 MiB, or … */
#define SMALL_PART 32   /* … one in so many of the budget: less is not worth a look */
#define PART_MIN 2048   /* 8 MiB: what an even share of the budget must be to be worth an engine … */
#define PART_LEAST 8    /* … and one in so many of what may be copied, or it would do nothing but wait for pages */
#define WINDOW 16       /* pages that are taken over together, where frames are plenty */

/* What of the parent's the process may come to copy, pages. */
static uint64_t copyable(void)
{
	struct proc_memory mem;

	return proc_memory(&mem, false) == 0 ? mem.resident - MIN(mem.resident, mem.shared) : 0;
}

void inherit_part(const struct ledger_slot *parent)
{
	struct engine *e = &engine;
	uint64_t small = MAX(SMALL_PAGES, atomic_load(&e->ledger->ram_pages) / SMALL_PART);

	if (atomic_load(&parent->granted) <= small || atomic_load(&parent->fleeting) == LEDGER_CHILD_EXECS)
		return;
	uint64_t most = copyable();
	if (most <= small)
		return;
	uint64_t got = ledger_demand(e->ledger, e->slot, most);

	if (got == most)
		return;
	ledger_return(e->ledger, e->slot, got);
	if (share_even() < MAX(PART_MIN, most / PART_LEAST))
		return;
	share_begin(ENGINE_PAGES);
	e->inheriting = true;
	engine_start();
	e->inheriting = false;
}

int inherit_area(vpn_t start, vpn_t end)
{
	struct engine *e = &engine;
	uint64_t from = vpn_address(start), to = vpn_address(end);

	e->inherited += proc_count_present(e->homes.pagemap_fd, from, to);
	return host_protect(e->homes.prog_fd, from, to - from, true);
}

/* Takes what is present in [from, to), and nobody's yet, into the books. No page of it is being evicted. Lock held. */
static void take_over(vpn_t from, vpn_t to)
{
	native_adopt(from, to, false);
	/* -EAGAIN: an event has to be read first; the write comes again. */
	host_protect(engine.homes.prog_fd, vpn_address(from), (to.n - from.n) << PAGE_SHIFT, false);
}

/* Frames that pages may be taken over into without anybody having to wait for one. Lock held. */
static uint64_t plenty(void)
{
	const struct phys *p = &engine.m.phys;
	uint64_t free = phys_free_frames(p, 0);

	return free - MIN(free, phys_wmark(p, 0, WMARK_LOW));
}

static bool is_inherited(vpn_t vpn)
{
	return pte_is_none(pt_get(&engine.mm.pt, vpn));
}

bool inherit_window(vpn_t vpn)
{
	struct engine *e = &engine;
	const struct vma *v = e->inherited > 0 ? vma_find(&e->mm.vmas, vpn) : NULL;

	if (v == NULL || !is_inherited(vpn) || plenty() < WINDOW)
		return false;
	vpn_t to = { vpn.n + 1 }, end = { MIN(v->end.n, vpn.n + WINDOW) };

	while (to.n < end.n && is_inherited(to))
		to.n++;
	take_over(vpn, to);
	return true;
}

void inherit_again(void)
{
	struct engine *e = &engine;
	struct vma *v;

	if (e->inherited == 0)
		return;
	TAILQ_FOREACH(v, &e->mm.vmas.list, link)
		if (!(v->flags & VMA_LOCKED))
			host_protect(e->homes.prog_fd, vpn_address(v->start), (v->end.n - v->start.n) << PAGE_SHIFT, true);
}

/* Pages of managed areas that the host has present, whoever counts them. Lock held, given up inside. */
static uint64_t present(void)
{
	struct engine *e = &engine;
	uint64_t pages = 0, at = 0;

	for (const struct vma *v; (v = vma_find_above(&e->mm.vmas, (vpn_t){ at })) != NULL;) {
		uint64_t from = vpn_address(v->start), to = vpn_address(v->end);

		at = v->end.n;
		if (v->flags & VMA_LOCKED)
			continue;
		engine_drop();
		pages += proc_count_present(e->homes.pagemap_fd, from, to);
		engine_take();
	}
	return pages;
}

static bool is_orphan(void)
{
	const struct ledger_slot *owner = fork_parent();

	return owner == NULL || atomic_load(&owner->state) == LEDGER_ENGAGED;
}

void inherit_tick(void)
{
	static uint64_t at;
	struct engine *e = &engine;

	if (e->inherited == 0 || !is_orphan())
		return;
	engine_take();
	for (uint64_t room; (room = plenty()) > 0;) {
		const struct vma *v = vma_find_above(&e->mm.vmas, (vpn_t){ at });

		if (v == NULL) {
			at = e->inherited = 0;
			break;
		}
		vpn_t from = { MAX(v->start.n, at) }, to = { MIN(v->end.n, from.n + room) };

		if (!(v->flags & VMA_LOCKED))
			take_over(from, to);
		at = to.n;
	}
	engine_drop();
}

uint64_t inherit_look(void)
{
	struct engine *e = &engine;

	if (e->inherited == 0)
		return 0;
	engine_take();
	uint64_t pages = present(), counted = lru_of_policy(&e->m.lruvec[0]);

	e->inherited = pages - MIN(pages, counted);
	engine_drop();
	return e->inherited;
}

/*
 * The fault handler: one thread that answers what userfaultfd asks.
 *
 * Changes of the address space come before faults (inbox.c). A fault that is
 * being served when a change arrives is given back and comes again: what the
 * manager knew of its page may be over. One that finds the address space
 * changing gets -EAGAIN from the kernel and is retried by its thread, too.
 *
 * A moved range ([from, to, len] of mremap) is followed by a munmap event of
 * `from`. Until that arrives, the manager keeps an empty area there, a ghost, so
 * that a new mapping of another thread at the same address waits for it (bell.c)
 * and is not taken for the old one. What another mremap brings there meanwhile
 * is not the event's to drop.
 *
 * While the handler waits for the pager it keeps receiving, because the pager may
 * itself wait until an event of its own is read.
 *
 * It does not wait for a store that can read by itself (mm/swapin.h): such a fault
 * stays on its way, SWAPINS at a time, while others are served. A change of the
 * address space waits until those within it have ended; a request of the program,
 * which may ask for anything, until all have.
 */
#include <errno.h>

#include "base/fmt.h"
#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"
#include "live/urgent.h"
#include "mm/reclaim/patience.h"
#include "mm/reclaim/reclaim.h"

#define PAGER_PATIENCE_NS 1000000
#define PAGER_PATIENCE_COPY_NS 50000
#define UNSETTLED_NS 10000000000 /* 10 s after which the program is out of room while the address space changes and nothing can be taken away; else: patience.h, stores.c */

#define GHOSTS 32
#define GHOST_NS 1000000000 /* 1 s: with MREMAP_DONTUNMAP the event never comes */

struct ghost {
	uint64_t start, end;
	uint64_t over_start, over_end; /* what has been moved there since; equal: nothing */
	uint64_t since;
};

static struct ghost ghosts[GHOSTS];

static void ghost_appears(uint64_t start, uint64_t end)
{
	struct ghost *oldest = &ghosts[0];

	for (unsigned i = 1; i < GHOSTS; i++)
		if (ghosts[i].since < oldest->since)
			oldest = &ghosts[i];
	*oldest = (struct ghost){ .start = start, .end = end, .since = now_ns() };
}

/* Other memory has come to [start, end). */
static void ghost_overwrite(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < GHOSTS; i++) {
		struct ghost *g = &ghosts[i];
		uint64_t from = MAX(start, g->start), to = MIN(end, g->end);

		if (from >= to)
			continue;
		bool first = g->over_start == g->over_end;

		g->over_start = first ? from : MIN(g->over_start, from);
		g->over_end = first ? to : MAX(g->over_end, to);
	}
}

/* The event that ends a ghost; true: *g is what it was. */
static bool ghost_ends(uint64_t start, uint64_t end, struct ghost *g)
{
	for (unsigned i = 0; i < GHOSTS; i++) {
		if (ghosts[i].start != start || ghosts[i].end != end || now_ns() - ghosts[i].since > GHOST_NS)
			continue;
		*g = ghosts[i];
		ghosts[i] = (struct ghost){ 0 };
		return true;
	}
	return false;
}

static void wake(uint64_t address)
{
	host_wake(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE);
}

/*
 * The time in which somebody waits for a fault, however many do at once: it is counted from here on, or to here, or
 * both.
 */
static uint64_t stalled_since; /* 0: nobody waits */

static void count_stall(uint64_t now, bool goes_on)
{
	struct engine *e = &engine;

	if (stalled_since != 0)
		COUNT_N(&e->m, stall_ns, now - stalled_since);
	stalled_since = goes_on ? now : 0;
	atomic_store_explicit(&e->slot->fault_since, stalled_since, memory_order_relaxed);
}

/* A fault that came at `since` is served. */
static void count_fault(uint64_t since, uint64_t now)
{
	hist_add(&engine.slot->fault_ns, now - since);
}

static void end_swapin(const struct swapin_done *done)
{
	uint64_t now = now_ns();

	if (done->result == FAULT_LOST)
		stores_lost(done->vpn, done->report.area, done->report.slot, done->report.err);
	if (done->result != FAULT_DONE)
		wake(vpn_address(done->vpn));
	/* 0: nobody has touched it; a range was to be given back, with everything in it (native.c). */
	if (done->since != 0)
		count_fault(done->since, now);
	count_stall(now, engine.swapins.awaited > 0);
}

/* Ends the swap-ins that have been read. wait: one at least, if any is on its way. Lock held, given up inside. */
static void end_swapins(bool wait)
{
	struct engine *e = &engine;
	struct swapin_done done;

	if (e->swapins.nr == 0)
		return;
	engine_drop();
	swap_read_poll(&e->m.swap, wait);
	engine_take();
	while (mm_swapin_done(&e->m, &done))
		end_swapin(&done);
}

static void look_for_swapins(void)
{
	if (engine.swapins.nr == 0)
		return;
	engine_take();
	end_swapins(false);
	engine_drop();
}

void handler_settle(void)
{
	if (engine.swapins.nr == 0)
		return;
	engine_take();
	while (engine.swapins.nr > 0)
		end_swapins(true);
	engine_drop();
}

/* Sleeps until the pager has brought free frames to mark, for a short while. Lock given up. */
static bool pager_frees(uint32_t mark)
{
	struct engine *e = &engine;
	/* The copying path waits for us to read its events. */
	struct timespec patience = { .tv_nsec = e->homes.can_move ? PAGER_PATIENCE_NS : PAGER_PATIENCE_COPY_NS };

	atomic_store(&e->frames_wanted, mark);
	pager_wake();
	engine_drop();
	futex_wait(&e->frames_wanted, mark, &patience);
	atomic_store(&e->frames_wanted, 0);
	inbox_receive();
	engine_take();
	return phys_free_frames(&e->m.phys, 0) >= mark;
}

static void throttle(void)
{
	/* Pages that are copied one by one gain nothing by a window that is whole. */
	uint32_t wanted = kswapd_throttle(&engine.m, 0, engine.homes.can_move ? RA_MAX : 0);

	if (wanted == 0)
		return;
	/* Nobody has to give anything up for it. */
	if (engine.ledger->record_ns != 0 && arena_online(RECORD_FRAMES_AHEAD) > 0)
		return;
	COUNT(&engine.m, allocstall);
	pager_frees(wanted);
}

/* Frames: of the pager, of our own reclaim, or such that others of the run have left. Lock held. */
static bool find_room(void)
{
	struct engine *e = &engine;
	bool progress = false;

	if (pager_frees(phys_wmark(&e->m.phys, 0, WMARK_MIN) / 2 + 1))
		return true;
	if (!e->m.reclaiming && atomic_load(&e->pause) == 0) {
		reclaim_batch(&e->m, false, &progress);
		if (progress)
			return true;
	}
	live_ops.relax(&e->m);
	return atomic_load(&e->hopeless) != 0 && arena_online(ledger_grant(e->ledger, e->slot, 256)) > 0;
}

/* No frame to be had: wait for the pager, or reclaim ourselves; false: there is nothing left to reclaim. Lock held. */
static bool make_room(unsigned round)
{
	struct engine *e = &engine;
	static struct patience patience;

	if (round == 0)
		patience_begin(&patience, now_ns(), atomic_load(&e->hopeless));
	/*
	 * Announced changes wait until the one that is being followed is over. Otherwise a program that makes one after the other
	 * fills the inbox, the last one stays unread, and until it is read the kernel moves no page out (-EAGAIN).
	 */
	if (e->changing)
		changes_hold(HOLD_ROOM);
	while (e->swapins.nr > 0)
		end_swapins(true);
	if (find_room()) {
		oom_relieved();
		return true;
	}
	uint32_t failed = atomic_load(&e->hopeless);
	uint64_t waited = now_ns() - patience.since;
	bool tried = patience_tried(&patience, failed) || waited >= UNSETTLED_NS;

	return failed == 0 || !tried || waited < stores_patience_ns() || oom_wait();
}

static void out_of_room(void)
{
	struct engine *e = &engine;
	char text[256];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "out of room: the budget of ");
	fmt_u64(&f, e->ledger->ram_pages >> (20 - PAGE_SHIFT));
	fmt_str(&f, "M is used");
	stores_tell(&f);
	fmt_str(&f, "; raise --ram, or give more with --swap");
	engine_fatal(text);
}

/* The kernel says that the page is registered, and no area knows it: grown in place, or mapped behind our back. */
static void discover(vpn_t vpn)
{
	native_scan();
	if (vma_find(&engine.mm.vmas, vpn) != NULL)
		return;
	/* Not a range to manage: the host's again. */
	host_unregister(engine.homes.prog_fd, vpn_address(vpn), PAGE_SIZE);
}

/* Lock held. True: the fault is on its way, and end_swapins has its end. */
static bool serve(vpn_t vpn, uint64_t since)
{
	struct engine *e = &engine;
	struct fault_report report = { .since = since };

	for (unsigned round = 0;; round++) {
		switch (mm_fault(&e->mm, vpn, FAULT_ANY, &report)) {
		case FAULT_DONE:
			return false;
		case FAULT_WAIT:
			return report.later;
		case FAULT_RETRY:
			wake(vpn_address(vpn));
			return false;
		case FAULT_INVALID:
			discover(vpn);
			wake(vpn_address(vpn));
			return false;
		case FAULT_LOST:
			stores_lost(vpn, report.area, report.slot, report.err);
		case FAULT_NOMEM:
			if (!make_room(round))
				out_of_room();
			if (inbox_change() == NULL)
				break;
			wake(vpn_address(vpn));
			return false;
		}
	}
}

static void fault(const struct uffd_msg *msg)
{
	struct engine *e = &engine;
	uint64_t address = msg->arg.pagefault.address;
	vpn_t vpn = vpn_of(address);

	if (bell_contains(address)) {
		bell_serve(address);
		return;
	}
	uint64_t start = now_ns();
	bool later = false;

	count_stall(start, true);
	cpu_follow((int)msg->arg.pagefault.feat.ptid, start);
	engine_take();
	while (e->swapins.nr == SWAPINS)
		end_swapins(true);
	if (e->frozen) {
		/* A change that waits may have changed what this page holds: not before it is followed. */
		if (inbox_changing(ALIGN_DOWN(address, PAGE_SIZE), ALIGN_DOWN(address, PAGE_SIZE) + PAGE_SIZE))
			wake(address);
		else
			fork_serve(vpn);
	} else if (atomic_load(&e->state) == LEDGER_ARMED) {
		native_trip(vpn);
		wake(address);
	} else if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP && inherit_window(vpn)) {
		COUNT(&e->m, pgfault);
		wake(address);
	} else if (fork_postpones(start)) {
		later = true;
	} else {
		COUNT(&e->m, pgfault);
		COUNT_N(&e->m, fault_frames, phys_managed_frames(&e->m.phys, 0));
		record_fault(msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE, msg->arg.pagefault.feat.ptid);
		throttle();
		later = serve(vpn, start);
		/* Nobody else is there to be served meanwhile. */
		while (atomic_load(&e->program_threads) == 1 && e->swapins.awaited > 0)
			end_swapins(true);
		/* A write to a page that was protected for copying and is present after all. */
		if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			pte_t pte = pt_get(&e->mm.pt, vpn);

			if (pte_is_present(pte) && !(pfn_frame(&e->m.phys, pte_pfn(pte))->flags & FRAME_LOCKED) &&
			    changes_protect(vpn_address(vpn), PAGE_SIZE, false) != 0)
				wake(address);
		}
	}
	engine_drop();
	uint64_t now = now_ns();

	if (!later)
		count_fault(start, now);
	count_stall(now, e->swapins.awaited > 0);
}

/* Swap-ins of pages in [start, end) end; others go on. Lock held, given up inside. */
static void settle(uint64_t start, uint64_t end)
{
	while (swapins_within(&engine.swapins, vpn_of(start), vpn_of(end)))
		end_swapins(true);
}

/* While the manager follows a change of [start, end), and gives the lock up in between, nobody may look for unknown areas. */
static void change_begins(uint64_t start, uint64_t end)
{
	engine_take();
	engine.changing = true;
	settle(start, end);
}

static void change_ends(void)
{
	engine.changing = false;
	changes_let_go(HOLD_ROOM);
	engine_drop();
}

static void forget(uint64_t start, uint64_t end)
{
	struct engine *e = &engine;

	change_begins(start, end);
	for (unsigned round = 0; mm_unmap(&e->mm, vpn_of(start), vpn_of(end)) != 0; round++)
		if (!make_room(round))
			out_of_room();
	change_ends();
}

static void unmapped(uint64_t start, uint64_t end)
{
	struct ghost g;

	if (!ghost_ends(start, end, &g) || g.over_start == g.over_end) {
		forget(start, end);
		return;
	}
	if (start < g.over_start)
		forget(start, g.over_start);
	if (g.over_end < end)
		forget(g.over_end, end);
}

static void remapped(uint64_t from, uint64_t to, uint64_t len)
{
	struct engine *e = &engine;
	vpn_t a = vpn_of(from), b = vpn_of(to);
	uint64_t n = len >> PAGE_SHIFT;

	change_begins(from, from + len);
	settle(to, to + len);
	struct vma *old = vma_find(&e->mm.vmas, a);
	uint32_t flags = old != NULL ? old->flags : 0;

	/* What lay at the target is gone, whether its event was read or not. */
	for (unsigned round = 0; mm_unmap(&e->mm, b, (vpn_t){ b.n + n }) != 0 || mm_move(&e->mm, a, b, n) != 0; round++)
		if (!make_room(round))
			out_of_room();
	if (old != NULL)
		mm_map(&e->mm, a, (vpn_t){ a.n + n }, flags, NULL, 0);
	ghost_overwrite(to, to + len);
	ghost_appears(from, from + len);
	change_ends();
}

static void removed(uint64_t start, uint64_t end)
{
	change_begins(start, end);
	mm_drop(&engine.mm, vpn_of(start), vpn_of(end));
	change_ends();
}

static void follow(const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_UNMAP:
		record_unmapped(msg->arg.remove.start, msg->arg.remove.end);
		unmapped(msg->arg.remove.start, msg->arg.remove.end);
		break;
	case UFFD_EVENT_REMOVE:
		record_dropped(msg->arg.remove.start, msg->arg.remove.end);
		removed(msg->arg.remove.start, msg->arg.remove.end);
		break;
	case UFFD_EVENT_REMAP:
		record_moved(msg->arg.remap.from, msg->arg.remap.to, msg->arg.remap.len);
		remapped(msg->arg.remap.from, msg->arg.remap.to, msg->arg.remap.len);
		break;
	}
}

void handler_follow(void)
{
	const struct uffd_msg *msg;

	/* While a fork copies the manager it must not change. */
	while (!engine.frozen && (msg = inbox_change()) != NULL) {
		follow(msg);
		inbox_change_done();
	}
}

static void no_thread(int err)
{
	char text[200];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "cannot start a thread: error ");
	fmt_i64(&f, -err);
	fmt_str(&f, " of clone(2); raise the limits on processes and memory");
	engine_fatal(text);
}

void handler_run(void *arg)
{
	struct uffd_msg msg;

	(void)arg;
	/* In a child: faults of the parent's threads are not ours; what happened to the address space is. */
	inbox_forget_faults();
	handler_follow();
	int err = task_start(&engine.pager);

	urgent();
	if (err != 0)
		no_thread(err);
	for (;;) {
		/*
		 * On one CPU the thread that was served runs before we come back here, and its next fault waits already:
		 * looking first spares a poll.
		 */
		if (!inbox_receive())
			inbox_wait();
		look_for_swapins();
		handler_follow();
		while (inbox_fault(&msg)) {
			fault(&msg);
			look_for_swapins();
			handler_follow();
		}
	}
}

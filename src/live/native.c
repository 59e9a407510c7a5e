/*
 * Nothing is paid before there is pressure.
 *
 * While the program fits, its memory is native. The law that makes this safe:
 *
 *     resident + native memory that may still be touched ≤ native_limit()
 *
 * Program threads count what they map (native_account); when the count runs
 * out, somebody takes an exact look at the kernel's books (native_look) and asks
 * the run for more budget. When there is no more, the engine arms: what exceeds
 * the headroom is registered before it is ever touched, a fence. A touch of
 * the fence is one fault; if the headroom allows, a window of it becomes native
 * (half of the headroom, so a dozen windows cover any budget). If not, the
 * engine engages: every area is registered, the pages that are present are
 * counted into frames, and from then on every fault is ours.
 *
 * A program that maps many times its budget and touches little of it (hash tables, arenas of a runtime) has its windows counted as a whole, and
 * would soon be taken for one that does not fit. So before the engine engages, what was not touched of large areas
 * is fenced again, as long as that brings something: resident memory must have grown since the last time.
 *
 * Who maps by an instruction of its own (SBCL) is counted nowhere. So calls that such a program makes through libc all the same, mprotect for one,
 * ask at times whether it has come to more memory than it has counted (native_grew_unseen).
 *
 * The count only grows: what is unmapped stays in it until the next look. A process that starts another one often sleeps
 * until that is over, and a compiler is started by a row of five; so it looks then (native_settle), and in a run that is short
 * gives back what it does not need at once.
 *
 * The area set holds exactly what is registered, because only of registered
 * ranges the kernel tells us the end: fences while ARMED, everything managed
 * when ENGAGED. VMA_LOCKED: registered for events only, the host keeps it.
 *
 * What is managed: anonymous, private memory: heap, mappings, large bss of the
 * program itself. Not managed, only counted: stacks, data of shared libraries,
 * file and shared mappings, our own ranges, anything with a thread's TCB in it
 * (the kernel clears a word there when the thread is past being served).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"
#include "mm/user_page.h"

#define AREA_MIN (64 * KIB)     /* smaller ones are left alone and only counted */
#define WINDOW_MIN (2 * MIB)    /* below this headroom the engine engages */
#define GUARD_MAX (64 * KIB)    /* a PROT_NONE range up to this size below an area makes it a stack … */
#define BSS_MAX (64 * MIB)      /* ours has the table of malloc's pages, 33 MiB */
#define STACK_MAX (64 * MIB)    /* … if it is not larger than this */
#define WINDOW_PAGES (WINDOW_MIN >> PAGE_SHIFT)
#define WINDOW_PART 2           /* of the headroom … */
#define WINDOW_PART_SPARSE 16   /* … and where much of a window stays untouched */
#define FENCE_TIMES 4           /* … of a program that has taken so many times of it */
#define FENCE_PART 16           /* untouched memory is fenced again when a part of the budget so large has become resident */
#define HEADROOM_LOW (8 * MIB >> PAGE_SHIFT) /* below this headroom the run is asked for more */
#define LOOSE 262144            /* bytes: so much may be counted that is gone again */
#define BLIND_PAGES 256         /* allowed when the books cannot be read */
#define UNSEEN_PAGES (2 * MIB >> PAGE_SHIFT) /* so much may have been mapped behind our back … */
#define UNSEEN_NS 10000000u     /* … and so often we ask; less often, doubled each time, the more often there was room for it */
#define LOCK_LEAVES 4           /* a quarter of what the process has of the budget is not for mlock */
#define SMALL_PAGES 384         /* a process with no more could not page out what its engine would take (ledger.c: OWN_PAGES) … */
#define SMALL_STEP 32           /* … and gets so much beyond what it has, if the run has to be overdrawn for it */

/* One walk over /proc/self/maps: remembers what the rules need of the area before. */
struct walk {
	uint64_t prev_start, prev_end;
	bool prev_guard;   /* the area before is a small PROT_NONE one */
	bool prev_file, prev_exe;
	uint64_t exe_inode;
	uint64_t sum;      /* potential */
};

static bool candidate(struct walk *w, const struct proc_area *a)
{
	bool adjacent = w->prev_end == a->start;
	uint64_t len = a->end - a->start;

	if (a->file || a->shared || len < AREA_MIN || engine_owns(a->start, a->end))
		return false;
	if (a->name[0] != '\0' && strcmp(a->name, "[heap]") != 0 && strncmp(a->name, "[anon:", 6) != 0)
		return false;
	if ((a->start <= engine.main_tcb && engine.main_tcb < a->end) || cpu_tcb_within(a->start, a->end))
		return false;
	/* The bss of a library follows its data; the program's own is worth managing, and so is a heap behind a file that is its beginning (SBCL). */
	if (adjacent && w->prev_file && !w->prev_exe && len <= BSS_MAX)
		return false;
	if (adjacent && w->prev_guard && a->write && len <= STACK_MAX)
		return false;
	/* Address space that is only reserved matters when it is large: it may become writable unseen. */
	return a->write || len >= MIB;
}

static void walk_next(struct walk *w, const struct proc_area *a)
{
	uint64_t len = a->end - a->start;

	/* The first file mapped is the program. */
	if (w->exe_inode == 0 && a->inode != 0)
		w->exe_inode = a->inode;
	w->prev_guard = !a->read && !a->write && !a->exec && !a->file && len <= GUARD_MAX;
	w->prev_file = a->file || (w->prev_file && w->prev_end == a->start && a->name[0] == '\0' && len < AREA_MIN);
	w->prev_exe = a->inode != 0 && a->inode == w->exe_inode;
	w->prev_start = a->start;
	w->prev_end = a->end;
}

/* Registers [start, end), which the set does not hold, and counts what is present. */
static int manage(vpn_t start, vpn_t end)
{
	struct engine *e = &engine;
	int err = host_register(e->homes.prog_fd, vpn_address(start), (end.n - start.n) << PAGE_SHIFT, true);

	if (err == 0)
		err = mm_map(&e->mm, start, end, VMA_READ | VMA_WRITE, NULL, 0);
	if (err != 0)
		return err;
	record_mapped(vpn_address(start), vpn_address(end));
	return e->inheriting ? inherit_area(start, end) : native_adopt(start, end, false);
}

/* Calls take() for the parts of [at, end) that the set does not hold. What the host will not register (a hole, a file) stays native. */
static void each_unknown(vpn_t at, vpn_t end, int (*take)(vpn_t start, vpn_t end))
{
	while (at.n < end.n) {
		struct vma *next = vma_overlap(&engine.mm.vmas, at, end);
		vpn_t stop = next != NULL ? next->start : end, resume = next != NULL ? next->end : end;

		if (stop.n > at.n)
			take(at, stop);
		at = resume;
	}
}

static bool scan_area(void *ctx, const struct proc_area *a)
{
	struct walk *w = ctx;

	if (candidate(w, a))
		each_unknown(vpn_of(a->start), vpn_of(a->end), manage);
	walk_next(w, a);
	return true;
}

void native_scan(void)
{
	struct walk w = { 0 };

	if (atomic_load(&engine.state) == LEDGER_ENGAGED)
		proc_maps(scan_area, &w);
}

/* Budget in pages that native memory may use. */
static uint64_t native_limit(void)
{
	return ledger_native_limit(atomic_load(&engine.slot->granted));
}

/* proc_memory's data at the last look. */
static _Atomic uint64_t data_then;

static bool potential_area(void *ctx, const struct proc_area *a)
{
	struct walk *w = ctx;

	if (!a->shared && a->write && !engine_owns(a->start, a->end)) {
		bool native = candidate(w, a) && vma_find(&engine.mm.vmas, vpn_of(a->start)) == NULL;

		w->sum += native ? (a->end - a->start) >> PAGE_SHIFT
				 : proc_count_present(engine.homes.pagemap_fd, a->start, a->end);
	}
	walk_next(w, a);
	return true;
}

/* Pages that the process can come to without a further look. */
static uint64_t potential(void)
{
	struct walk w = { 0 };
	struct proc_memory mem = { 0 };

	proc_maps(potential_area, &w);
	proc_memory(&mem, false);
	atomic_store(&data_then, mem.data);
	return w.sum + file_part(mem.shared);
}

/* The exact look: what may still be touched natively, after asking the run for more budget if that is little. */
static uint64_t headroom(void)
{
	struct engine *e = &engine;

	/* Nobody squeezes us while we count. */
	atomic_store(&e->slot->allowed, 0);
	/* The run is to have less: only an engine can give back what is resident. */
	if (e->ledger->eager || atomic_load(&e->ledger->debt_pages) > 0)
		return 0;
	uint64_t used = potential(), limit = native_limit();

	/* Once it sleeps it could give nothing to the others. */
	if (share_is_hoard(used))
		return 0;
	/* A 32nd of the run at a time, so that a small process does not take what another one needs soon. */
	if (used + HEADROOM_LOW > limit) {
		share_take(used + HEADROOM_LOW - limit + e->ledger->ram_pages / 32);
		limit = native_limit();
	}
	/* Before the engine has to start: what others were allowed and do not use. */
	if (used + HEADROOM_LOW / 4 > limit) {
		ledger_squeeze(e->ledger, e->slot, used + HEADROOM_LOW / 4 - limit);
		limit = native_limit();
	}
	if (used + SMALL_STEP / 2 > limit && used <= SMALL_PAGES) {
		ledger_overdraw(e->ledger, e->slot, ledger_native_grant(used + SMALL_STEP) - atomic_load(&e->slot->granted));
		limit = native_limit();
	}
	return limit > used ? limit - used : 0;
}

/* Bytes that were allowed at the last look. */
static _Atomic int64_t allowed_then;

static void allow(uint64_t pages)
{
	int64_t bytes = (int64_t)(ledger_allowed(pages) << PAGE_SHIFT);

	atomic_store(&allowed_then, bytes);
	atomic_store(&engine.slot->allowed, bytes);
}

bool native_account(uint64_t bytes)
{
	return atomic_fetch_sub(&engine.slot->allowed, (int64_t)bytes) >= (int64_t)bytes;
}

bool native_look(void)
{
	struct engine *e = &engine;
	uint64_t room;

	fork_lives();
	e->homes.pagemap_fd = proc_open("/proc/thread-self/pagemap");
	/* The program is at its limit of descriptors: a little, until it can be looked at. */
	if (e->homes.pagemap_fd < 0) {
		allow(BLIND_PAGES);
		return true;
	}
	room = headroom();
	sys_close(e->homes.pagemap_fd);
	e->homes.pagemap_fd = -1;
	allow(room);
	return room > 0;
}

bool native_is_loose(void)
{
	return ledger_is_short(engine.ledger) || atomic_load(&allowed_then) - atomic_load(&engine.slot->allowed) > LOOSE;
}

void native_settle(void)
{
	struct engine *e = &engine;

	e->homes.pagemap_fd = proc_open("/proc/thread-self/pagemap");
	if (e->homes.pagemap_fd < 0)
		return;
	atomic_store(&e->slot->allowed, 0);
	uint64_t used = potential(), limit;

	sys_close(e->homes.pagemap_fd);
	e->homes.pagemap_fd = -1;
	if (ledger_is_short(engine.ledger))
		ledger_trim(e->ledger, e->slot, ledger_native_grant(used + (LEDGER_KEEP >> PAGE_SHIFT)));
	limit = native_limit();
	allow(limit > used ? limit - used : 0);
}

bool native_grew_unseen(void)
{
	static _Atomic uint64_t due_ns, wait_ns = UNSEEN_NS;
	uint64_t now = now_ns(), due = atomic_load(&due_ns), wait = atomic_load(&wait_ns);
	int64_t counted = atomic_load(&allowed_then) - atomic_load(&engine.slot->allowed);
	struct proc_memory mem;

	if (now < due || !atomic_compare_exchange_strong(&due_ns, &due, now + wait) || proc_memory(&mem, false) != 0)
		return false;
	if (mem.data <= atomic_load(&data_then) + ((uint64_t)MAX(counted, 0) >> PAGE_SHIFT) + UNSEEN_PAGES)
		return false;
	atomic_store(&wait_ns, 2 * wait);
	return true;
}

/* From now on only what is present in [start, end) counts of it. */
static int fence(vpn_t start, vpn_t end)
{
	struct engine *e = &engine;
	uint64_t at = vpn_address(start), len = (end.n - start.n) << PAGE_SHIFT;
	int err = host_register(e->homes.prog_fd, at, len, true);

	if (err != 0)
		return err;
	err = mm_map(&e->mm, start, end, VMA_READ | VMA_WRITE, NULL, 0);
	if (err != 0)
		host_unregister(e->homes.prog_fd, at, len);
	return err;
}

int native_mapped(uint64_t start, uint64_t len, bool writable)
{
	struct engine *e = &engine;
	vpn_t from = vpn_of(start), to = vpn_of(start + len);

	if (atomic_load(&e->state) == LEDGER_ENGAGED) {
		each_unknown(from, to, manage);
		return 0;
	}
	/* The new range is in the kernel's books already, so the headroom has it subtracted. */
	uint64_t room = headroom();

	allow(room);
	if (writable && room > WINDOW_PAGES)
		return 0;
	return fence(from, to);
}

int native_grown(uint64_t start, uint64_t end)
{
	struct engine *e = &engine;
	vpn_t at = vpn_of(start), to = vpn_of(end);

	if (atomic_load(&e->state) == LEDGER_ENGAGED) {
		each_unknown(at, to, manage);
		return 0;
	}
	uint64_t room = headroom();

	allow(room);
	if (room > WINDOW_PAGES)
		return 0;
	each_unknown(at, to, fence);
	return 0;
}

struct range {
	uint64_t start, end;
};

static bool join_part(void *ctx, const struct proc_area *a)
{
	const struct range *r = ctx;
	uint64_t start = MAX(a->start, r->start), end = MIN(a->end, r->end);

	if (start < end && !a->file && !a->shared && !engine_owns(a->start, a->end))
		each_unknown(vpn_of(start), vpn_of(end), atomic_load(&engine.state) == LEDGER_ENGAGED ? manage : fence);
	return a->start < r->end;
}

void native_join(uint64_t start, uint64_t end)
{
	proc_maps(join_part, &(struct range){ start, end });
}

/* The last time that untouched memory was fenced again. Lock held. */
static struct {
	bool ever;
	uint64_t resident; /* pages that the process had then */
} refenced;

/* Pages of the next window; 0: there is no room for one. */
static uint64_t window(void)
{
	uint64_t room = headroom();

	return room >= 2 * WINDOW_PAGES ? MAX(room / (refenced.ever ? WINDOW_PART_SPARSE : WINDOW_PART), WINDOW_PAGES) : 0;
}

/* An area with much that was never touched. */
static bool fence_area(void *ctx, const struct proc_area *a)
{
	struct engine *e = &engine;
	struct walk *w = ctx;
	uint64_t pages = (a->end - a->start) >> PAGE_SHIFT;

	if (a->write && pages >= WINDOW_PAGES && candidate(w, a) && vma_find(&e->mm.vmas, vpn_of(a->start)) == NULL &&
	    pages - MIN(pages, proc_count_present(e->homes.pagemap_fd, a->start, a->end)) >= WINDOW_PAGES)
		each_unknown(vpn_of(a->start), vpn_of(a->end), fence);
	walk_next(w, a);
	return true;
}

/* Pages of all fences. */
static uint64_t fenced(void)
{
	const struct vma *v;
	uint64_t n = 0;

	TAILQ_FOREACH(v, &engine.mm.vmas.list, link)
		n += v->end.n - v->start.n;
	return n;
}

static void fence_untouched(uint64_t resident)
{
	struct walk w = { 0 };

	refenced.ever = true;
	refenced.resident = resident;
	proc_maps(fence_area, &w);
}

/* True: there may be headroom again. */
static bool fence_again(void)
{
	struct proc_memory mem;

	if (engine.ledger->eager || proc_memory(&mem, false) != 0)
		return false;
	/* Less than that is soon touched, and then it is better to have begun early. */
	if (fenced() < FENCE_TIMES * native_limit())
		return false;
	if (refenced.ever && mem.resident < refenced.resident + native_limit() / FENCE_PART)
		return false;
	fence_untouched(mem.resident);
	return true;
}

void native_find_unseen(void)
{
	struct proc_memory mem;
	uint64_t room;

	if (atomic_load(&engine.state) == LEDGER_ENGAGED) {
		native_scan();
		return;
	}
	room = headroom();
	allow(room);
	if (room <= WINDOW_PAGES && proc_memory(&mem, false) == 0)
		fence_untouched(mem.resident);
}

void native_trip(vpn_t vpn)
{
	struct engine *e = &engine;
	uint64_t room = window();

	if (room == 0 && fence_again())
		room = window();
	struct vma *vma = vma_find(&e->mm.vmas, vpn);

	if (vma == NULL) {
		/* Grown in place: native until the next look. */
		host_unregister(e->homes.prog_fd, vpn_address(vpn), PAGE_SIZE);
		return;
	}
	vpn_t from = { MAX(vma->start.n, ALIGN_DOWN(vpn.n, WINDOW_PAGES)) };
	vpn_t to = { MIN(vma->end.n, from.n + room) };

	if (room == 0 || mm_unmap(&e->mm, from, to) != 0) {
		native_engage();
		return;
	}
	host_unregister(e->homes.prog_fd, vpn_address(from), (to.n - from.n) << PAGE_SHIFT);
	/* The window has been given what was allowed. */
	atomic_store(&e->slot->allowed, 0);
}

/* The page brings memory of its own: what a frame that was used before has at home would be a second one. */
static void empty_home(vpn_t vpn)
{
	struct engine *e = &engine;

	homes_empty(&e->homes, homes_of(&e->homes, pfn_frame(&e->m.phys, pte_pfn(pt_get(&e->mm.pt, vpn)))));
}

struct adoption {
	int err;
	bool fresh;
};

static void adopt_page(void *ctx, uint64_t address)
{
	struct adoption *a = ctx;

	if (a->err != 0 || !pte_is_none(pt_get(&engine.mm.pt, vpn_of(address))))
		return;
	a->err = mm_adopt(&engine.mm, vpn_of(address));
	/* More is resident than the budget has frames for: the balloon will take them back. */
	if (a->err == -ENOMEM && arena_online(256) > 0)
		a->err = mm_adopt(&engine.mm, vpn_of(address));
	if (a->err != 0)
		return;
	record_adopted(vpn_of(address).n);
	if (!a->fresh)
		empty_home(vpn_of(address));
}

int native_adopt(vpn_t start, vpn_t end, bool fresh)
{
	struct adoption a = { .fresh = fresh };
	int err = proc_present(engine.homes.pagemap_fd, vpn_address(start), vpn_address(end), adopt_page, &a);

	return err != 0 ? err : a.err;
}

void native_engage(void)
{
	struct engine *e = &engine;
	uint64_t at = 0;

	if (atomic_load(&e->ledger->debt_pages) == 0)
		ledger_demand(e->ledger, e->slot, e->ledger->ram_pages);
	uint64_t limit = native_limit();

	if (e->ledger->record_ns != 0)
		limit = MIN(limit, RECORD_FRAMES_AHEAD);
	if (limit > e->online_to)
		arena_online(limit - e->online_to);
	/* First, so that a range mapped from now on is announced, and one mapped before is seen. */
	atomic_store(&e->state, LEDGER_ENGAGED);
	atomic_store(&e->slot->state, LEDGER_ENGAGED);
	for (struct vma *v; (v = vma_find_above(&e->mm.vmas, (vpn_t){ at })) != NULL;) {
		vpn_t start = v->start, end = v->end;

		at = end.n;
		/* The host's: a page of it that is taken would not come back. */
		if (!(v->flags & VMA_LOCKED))
			native_adopt(start, end, true);
	}
	native_scan();
	pager_wake();
}

/* Makes vpn present; the frame is then taken out of the books. Lock held, given up inside. */
static int release_page(vpn_t vpn)
{
	struct engine *e = &engine;

	for (unsigned round = 0; round < 10000; round++) {
		/* Not while the pager has the page in its hands: it may be about to take it home. */
		pte_t pte = user_page_settled(&e->mm, vpn);

		if (pte_is_none(pte))
			return 0;
		if (pte_is_present(pte)) {
			user_page_drop_range(&e->mm, vpn, (vpn_t){ vpn.n + 1 });
			return 0;
		}
		if (mm_fault(&e->mm, vpn, FAULT_ANY, NULL) != FAULT_DONE)
			live_ops.relax(&e->m);
	}
	return -ENOMEM;
}

/* Takes as many frames as the host is about to have pages: it asks nobody, and the next measurement comes too late. */
static int pay(uint64_t pages)
{
	struct engine *e = &engine;

	for (unsigned round = 0; pages > 0; round++) {
		uint64_t done = arena_offline(pages);

		e->unmanaged += done;
		pages -= done;
		if (pages > 0 && round == 10000)
			return -ENOMEM;
		if (pages > 0) {
			pager_wake();
			live_ops.relax(&e->m);
		}
	}
	return 0;
}

/* Pages of [from, to) that the manager has in its areas and may take away. */
static uint64_t reclaimable(vpn_t from, vpn_t to)
{
	struct vma *v;
	uint64_t pages = 0;

	for (; (v = vma_overlap(&engine.mm.vmas, from, to)) != NULL; from = v->end)
		if (!(v->flags & VMA_LOCKED))
			pages += MIN(v->end.n, to.n) - MAX(v->start.n, from.n);
	return pages;
}

int native_lock(uint64_t start, uint64_t end, uint64_t whole_end)
{
	struct engine *e = &engine;
	vpn_t from = vpn_of(start), to = vpn_of(end);
	uint64_t pages = reclaimable(from, to), granted = atomic_load(&e->slot->granted);

	if (atomic_load(&e->state) != LEDGER_ENGAGED) {
		uint64_t room = headroom(), fences = reclaimable(from, vpn_of(whole_end));

		if (room > fences + WINDOW_PAGES) {
			allow(room - pages);
			return native_release(start, end);
		}
		native_engage();
		pages = reclaimable(from, to);
	}
	if (phys_managed_frames(&e->m.phys, 0) < reclaimable(from, vpn_of(whole_end)) + granted / LOCK_LEAVES)
		return -ENOMEM;
	int err = native_release(start, end);

	return err != 0 ? err : pay(pages);
}

int native_release(uint64_t start, uint64_t end)
{
	struct engine *e = &engine;
	vpn_t from = vpn_of(start), to = vpn_of(ALIGN_UP(end, PAGE_SIZE)), at = from;
	pte_t pte;

	for (; pt_next(&e->mm.pt, at, to, &at, &pte); at.n++) {
		int err = release_page(at);
		if (err != 0)
			return err;
	}
	for (struct vma *v; (v = vma_overlap(&e->mm.vmas, from, to)) != NULL; from = at) {
		vpn_t a = { MAX(v->start.n, from.n) }, b = { MIN(v->end.n, to.n) };

		at = b;
		vma_change(&e->mm.vmas, a, b, VMA_LOCKED, 0);
		host_unregister(e->homes.prog_fd, vpn_address(a), (b.n - a.n) << PAGE_SHIFT);
		host_register(e->homes.prog_fd, vpn_address(a), (b.n - a.n) << PAGE_SHIFT, false);
	}
	return 0;
}

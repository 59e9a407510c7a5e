/*
 * The arena: physical memory of the live machine, and the way pages take
 * between it and the program (machine_ops).
 *
 *   arena + pfn × 4096 is the home of frame pfn: an anonymous private mapping,
 *   populated where a frame is or was at home, empty where it is away.
 *
 *   place   MOVE home → address       EBUSY, EINVAL: COPY, then drop the home
 *   evict   MOVE address → home       EBUSY: unshare first; EINVAL: protect, copy, drop
 *
 * EBUSY is a page that fork shares (MADV_POPULATE_WRITE gives us our own) or
 * that is pinned (then it stays). The copying path serves ranges that are not
 * plain read-write, and kernels before 6.8. Writes are stopped by write protection,
 * the bytes are copied home, and MADV_DONTNEED drops the page. Three things need
 * care: nobody may bring other memory to the address meanwhile (copying_begin);
 * the drop is reported to our own handler, which must know it for ours
 * (engine.dropping); and the page may vanish before it is read, when another
 * thread drops it: then the pager itself faults and the handler answers it
 * with zeros, which is what the page holds by then. Only the pager may copy:
 * the handler would wait for itself.
 *
 * -EEXIST from MOVE may be a lie. Linux 6.18 moves pages in batches
 * (mm/userfaultfd.c move_pages); when it has to try a batch again, because
 * another CPU touched a page just then, it keeps the error of the first try:
 * what the second one has moved is tried a third time and reported as a target
 * that is occupied, by itself. So where a page is, is asked before anything at
 * its home is given up.
 *
 * A home is emptied without an event that we would have to answer ourselves: its
 * page moves to the trash, a range of another descriptor, and is dropped there.
 *
 * Home pages are never huge: MOVE of a small page would have to split them.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"

#define ZERO_PAGES 16
#define UNMAP_RUN 32
#define TRASH_PAGES 64u
#define HUGE_BYTES (2 * MIB)

static uint64_t home_of(const struct frame *f)
{
	return engine.arena + ((uint64_t)(f - engine.m.phys.frames) << PAGE_SHIFT);
}

static void *reserve(uint64_t bytes)
{
	void *p = engine_own_memory(bytes);

	if (p != NULL)
		sys_madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

/*
 * The frame table is touched everywhere: huge pages spare it most misses of the TLB. Only whole ones, of the part that is
 * likely to be used, so that it takes no more than its size.
 */
static void *reserve_table(uint64_t bytes, uint64_t likely)
{
	uint64_t whole = ALIGN_DOWN(likely, HUGE_BYTES);
	uint8_t *p = reserve(ALIGN_UP(bytes, PAGE_SIZE) + HUGE_BYTES);

	if (p == NULL || whole == 0)
		return p;
	p = (uint8_t *)(uintptr_t)ALIGN_UP((uintptr_t)p, HUGE_BYTES);
	sys_madvise(p, whole, MADV_HUGEPAGE);
	return p;
}

/* UFFDIO_MOVE as the kernel reports it; with --debug-move-again each eighth one as Linux 6.18 does after a second try. */
static int64_t move_reported(uint64_t to, uint64_t from, uint64_t len, uint64_t mode)
{
	static _Atomic uint32_t tries;
	int64_t moved = host_move(engine.prog_fd, to, from, len, mode);

	if (unlikely(engine.ledger->debug_move_again) && moved > 0 && atomic_fetch_add(&tries, 1) % 8 == 0)
		return moved > (int64_t)PAGE_SIZE ? (int64_t)PAGE_SIZE : -EEXIST;
	return moved;
}

/* UFFDIO_MOVE: bytes that are there now, or -errno of the first page. -EEXIST: something else is there. */
static int64_t move(uint64_t to, uint64_t from, uint64_t len, uint64_t mode)
{
	int64_t reported = move_reported(to, from, len, mode);
	uint64_t moved = reported > 0 ? (uint64_t)reported : 0;

	if (moved == len || (moved == 0 && reported != -EEXIST))
		return reported;
	while (moved < len && proc_absent(engine.pagemap_fd, from + moved) && !proc_absent(engine.pagemap_fd, to + moved))
		moved += PAGE_SIZE;
	/* Nobody has been woken for what was not reported. */
	if (moved > 0 && !(mode & UFFDIO_MOVE_MODE_DONTWAKE))
		host_wake(engine.prog_fd, to, moved);
	return moved > 0 ? (int64_t)moved : reported;
}

/* The host gets the memory of n homes back. */
static void drop_homes(uint64_t home, unsigned n)
{
	struct engine *e = &engine;

	for (; n > 0; n -= MIN(n, TRASH_PAGES), home += TRASH_PAGES << PAGE_SHIFT) {
		uint64_t len = (uint64_t)MIN(n, TRASH_PAGES) << PAGE_SHIFT;

		if (!e->can_move) {
			sys_madvise((void *)(uintptr_t)home, len, MADV_DONTNEED);
			continue;
		}
		int64_t moved = host_move(e->trash_fd, e->trash, home, len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);

		/* Shared since a fork: our own copies can go. */
		if (moved == -EBUSY && sys_madvise((void *)(uintptr_t)home, len, MADV_POPULATE_WRITE) == 0)
			host_move(e->trash_fd, e->trash, home, len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
		sys_madvise((void *)(uintptr_t)e->trash, len, MADV_DONTNEED);
	}
}

static int live_vmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	(void)ctx;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = address + ((uint64_t)i << PAGE_SHIFT), home = home_of(frames[i]);

		/* The page behind the home is given up, and a fresh one appears at the address: the same count. */
		drop_homes(home, 1);
		*(volatile uint8_t *)(uintptr_t)at = 0;
	}
	return 0;
}

static void live_vunmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	(void)ctx;
	(void)frames;
	sys_madvise((void *)(uintptr_t)address, (uint64_t)n << PAGE_SHIFT, MADV_DONTNEED);
}

int arena_init(void)
{
	struct engine *e = &engine;
	uint64_t likely = e->ledger->ram_pages, pages = MAX(likely, e->ledger->ram_max_pages);
	struct phys_zone_config zone = { .name = "Normal", .spanned = (uint32_t)pages };

	if (pages > UINT32_MAX)
		return -ERANGE;
	uint8_t *arena = reserve(pages << PAGE_SHIFT);
	struct frame *frames = reserve_table(pages * sizeof(struct frame), likely * sizeof(struct frame));
	/* vmalloc holds slot tables: 16 bytes a page out; the address space of 16 times the budget is plenty. */
	uint64_t vm_bytes = MAX(ALIGN_UP(pages << 4, PAGE_SIZE), 64 * MIB);
	uint8_t *vm = reserve(vm_bytes);

	e->zeros = reserve(ZERO_PAGES * PAGE_SIZE);
	e->trash = (uint64_t)(uintptr_t)reserve(TRASH_PAGES * PAGE_SIZE);
	if (e->trash == 0 || arena == NULL || frames == NULL || vm == NULL || e->zeros == NULL)
		return -ENOMEM;
	e->arena = (uint64_t)(uintptr_t)arena;
	e->arena_pages = pages;
	e->vm_start = (uint64_t)(uintptr_t)vm;
	e->vm_end = e->vm_start + vm_bytes;
	TAILQ_INIT(&e->balloon);
	int err = phys_init(&e->m.phys, arena, frames, (uint32_t)pages, &zone, 1, NULL);
	if (err != 0)
		return err;
	/* Half a per cent between the marks: what is free is lost to the program, but a stream must not run dry (docs/performance.md). */
	e->m.phys.watermark_scale_factor = 50;
	/* Enough for areas, tables and caches until engagement brings the rest. */
	arena_online(MIN(likely / 4, 512));
	err = machine_init(&e->m, &live_ops, e, e->slot->counter, e->vm_start, e->vm_end);
	if (err != 0)
		return err;
	e->m.vmalloc.vmap = live_vmap;
	e->m.vmalloc.vunmap = live_vunmap;
	e->m.policy = policy_nth(e->ledger->policy);
	err = policy_init(&e->m);
	if (err != 0)
		return err;
	return mm_init(&e->mm, &e->m);
}

int arena_register(void)
{
	struct engine *e = &engine;
	int err = 0;

	/* It would exchange frames under what is recorded of them. */
	e->m.gather = e->can_move && e->ledger->record_ns == 0;
	if (e->can_move)
		err = host_register(e->prog_fd, e->arena, e->arena_pages << PAGE_SHIFT, false);
	if (e->can_move && err == 0)
		err = host_register(e->trash_fd, e->trash, TRASH_PAGES * PAGE_SIZE, false);
	return err;
}

uint64_t arena_online(uint64_t n)
{
	struct engine *e = &engine;
	struct phys *p = &e->m.phys;
	uint64_t done = 0, fresh;

	for (struct frame *f; done < n && (f = TAILQ_FIRST(&e->balloon)) != NULL; done++) {
		TAILQ_REMOVE(&e->balloon, f, link);
		e->nr_balloon--;
		phys_online(p, frame_pfn(p, f), 1);
	}
	fresh = MIN(n - done, e->arena_pages - e->online_to);
	if (fresh > 0)
		phys_online(p, (pfn_t){ (uint32_t)e->online_to }, (uint32_t)fresh);
	e->online_to += fresh;
	return done + fresh;
}

uint64_t arena_offline(uint64_t n)
{
	struct engine *e = &engine;
	uint64_t done = 0;

	for (; done < n; done++) {
		struct frame *f = frame_alloc(&e->m.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_MIN);

		if (f == NULL)
			break;
		drop_homes(home_of(f), 1);
		phys_offline(&e->m.phys, &f, 1);
		TAILQ_INSERT_HEAD(&e->balloon, f, link);
		e->nr_balloon++;
	}
	return done;
}

/* Frames whose homes follow one another: MOVE takes them in one call. */
static unsigned contiguous(struct frame *const *frames, unsigned n)
{
	unsigned len = 1;

	while (len < n && frames[len] == frames[0] + len)
		len++;
	return len;
}

static int place_by_copy(uint64_t address, struct frame *f)
{
	uint64_t home = home_of(f);
	int64_t done = host_copy(engine.prog_fd, address, (void *)(uintptr_t)home, PAGE_SIZE, 0);

	if (done < 0)
		return (int)done;
	drop_homes(home, 1);
	return 1;
}

/* Pages placed, or -errno. */
static int place(uint64_t address, struct frame *const *frames, unsigned n)
{
	int64_t moved;

	if (!engine.can_move)
		return place_by_copy(address, frames[0]);
	moved = move(address, home_of(frames[0]), (uint64_t)n << PAGE_SHIFT, 0);
	if (moved > 0)
		return (int)(moved >> PAGE_SHIFT);
	if (moved == -EBUSY || moved == -EINVAL) {
		__atomic_fetch_add(&engine.m.counter[VM_pgcopied], 1, __ATOMIC_RELAXED);
		return place_by_copy(address, frames[0]);
	}
	return (int)moved;
}

/* True: the host holds memory at one of the homes. */
static bool homes_populated(uint64_t home, unsigned n)
{
	uint8_t vec[ZERO_PAGES];

	if (sys_call3(SYS_mincore, (long)home, (long)n << PAGE_SHIFT, (long)vec) != 0)
		return true;
	for (unsigned i = 0; i < n; i++)
		if (vec[i] & 1)
			return true;
	return false;
}

/* Zeros: from the home if the host holds a page there, else the host makes a page at the address. */
static int place_zeros(uint64_t address, struct frame *const *frames, unsigned n)
{
	uint64_t home = home_of(frames[0]);

	n = MIN(n, ZERO_PAGES);
	if (!homes_populated(home, n)) {
		int64_t done = host_copy(engine.prog_fd, address, engine.zeros, (uint64_t)n << PAGE_SHIFT, 0);

		return done > 0 ? (int)(done >> PAGE_SHIFT) : (int)done;
	}
	if (engine.can_move) {
		memset((void *)(uintptr_t)home, 0, (size_t)n << PAGE_SHIFT);
		return place(address, frames, n);
	}
	memset((void *)(uintptr_t)home, 0, PAGE_SIZE);
	return place(address, frames, 1);
}

static int live_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	unsigned done = 0;

	(void)m;
	(void)mm;
	record_placing(vpn.n, frames, n);
	while (done < n) {
		uint64_t address = vpn_address((vpn_t){ vpn.n + done });
		unsigned len = contiguous(frames + done, n - done);
		int got = zero ? place_zeros(address, frames + done, len) : place(address, frames + done, len);

		/* A run may cross a border between two of the kernel's areas, where ours are merged: page by page then. */
		if (got < 0 && len > 1)
			got = zero ? place_zeros(address, frames + done, 1) : place(address, frames + done, 1);
		if (got < 0)
			return done > 0 ? (int)done : got;
		done += (unsigned)got;
	}
	return (int)done;
}

/* Writes go on. -EAGAIN: the handler has an event to read, which it will. */
static void unprotect(uint64_t address, uint64_t len)
{
	while (host_protect(engine.prog_fd, address, len, false) == -EAGAIN)
		sys_sched_yield();
}

/* Drops what was copied; the handler has met the word of it then. Pages are write-protected. 0 or -errno. */
static int drop_copied(uint64_t address, uint64_t len)
{
	struct engine *e = &engine;

	atomic_store(&e->dropping_end, address + len);
	atomic_store(&e->dropping, address);
	int err = sys_madvise((void *)(uintptr_t)address, len, MADV_DONTNEED);

	/* It has returned, so its word was read; after the gate it is also recognised. */
	engine_lock_take(&e->gate);
	atomic_store(&e->dropping, 0);
	engine_lock_drop(&e->gate);
	return err;
}

/* Copies write-protected pages home. Pages done or -errno. */
static int copy_home(uint64_t address, struct frame *const *frames, unsigned n)
{
	uint64_t len = (uint64_t)n << PAGE_SHIFT;
	struct iovec to[UNMAP_RUN];

	for (unsigned i = 0; i < n; i++)
		to[i] = (struct iovec){ (void *)(uintptr_t)home_of(frames[i]), PAGE_SIZE };
	/* Not memcpy: the range may be without access, or gone. */
	ssize_t got = sys_preadv(engine.mem_fd, to, (int)n, address);

	if (got == (ssize_t)len && drop_copied(address, len) == 0) {
		__atomic_fetch_add(&engine.m.counter[VM_pgcopied], n, __ATOMIC_RELAXED);
		return (int)n;
	}
	unprotect(address, len);
	return -EBUSY;
}

/* The copying path for n contiguous pages: see the essay. Pager only. Pages done or -errno. */
static int evict_by_copy(uint64_t address, struct frame *const *frames, unsigned n)
{
	struct engine *e = &engine;
	uint64_t len = (uint64_t)n << PAGE_SHIFT;

	if (!task_is_current(&e->pager))
		return -EBUSY;
	engine_lock_take(&e->gate);
	bool begun = !inbox_changing(address, address + len) && copying_begin();
	int got = begun ? host_protect(e->prog_fd, address, len, true) : -EAGAIN;

	engine_lock_drop(&e->gate);
	if (got == 0)
		got = copy_home(address, frames, n);
	if (begun)
		copying_end();
	return got < 0 && got != -EAGAIN ? -EBUSY : got;
}

/* MOVE, unless the address is about to mean something else. Bytes moved or -errno; -EEXIST: home holds something else. */
static int64_t move_home(uint64_t home, uint64_t address, uint64_t len)
{
	int64_t moved = -EAGAIN;

	engine_lock_take(&engine.gate);
	if (!inbox_changing(address, address + len))
		moved = move(home, address, len, UFFDIO_MOVE_MODE_DONTWAKE);
	engine_lock_drop(&engine.gate);
	return moved;
}

static int evict_by_move(uint64_t address, struct frame *const *frames, unsigned n)
{
	uint64_t home = home_of(frames[0]), len = (uint64_t)n << PAGE_SHIFT;
	int64_t moved = move_home(home, address, len);

	if (moved == -EEXIST) {
		/* The home of a frame that is away holds nothing of value; a page placed as zeros left it populated. */
		drop_homes(home, n);
		moved = move_home(home, address, len);
	}
	return moved > 0 ? (int)(moved >> PAGE_SHIFT) : (int)moved;
}

static int live_unmap(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n)
{
	unsigned done = 0;

	(void)m;
	(void)mm;
	while (done < n) {
		uint64_t address = vpn_address((vpn_t){ vpn.n + done });
		unsigned left = MIN(n - done, UNMAP_RUN), len = contiguous(frames + done, left);
		int got = -EINVAL;

		if (engine.can_move)
			got = evict_by_move(address, frames + done, len);
		if (got < 0 && len > 1 && engine.can_move)
			got = evict_by_move(address, frames + done, len = 1);
		if (got == -EBUSY && task_is_current(&engine.pager) && sys_madvise((void *)(uintptr_t)address, len << PAGE_SHIFT, MADV_POPULATE_WRITE) == 0)
			got = evict_by_move(address, frames + done, len);
		if (got == -EINVAL)
			got = evict_by_copy(address, frames + done, left);
		if (got < 0)
			return done > 0 ? (int)done : got;
		done += (unsigned)got;
	}
	return (int)done;
}

static void live_wake(struct machine *m, struct mm *mm, vpn_t vpn)
{
	(void)m;
	(void)mm;
	host_wake(engine.prog_fd, vpn_address(vpn), PAGE_SIZE);
}

static bool live_discardable(struct machine *m, struct mm *mm, vpn_t vpn)
{
	(void)m;
	(void)mm;
	if (engine.discard_map == NULL)
		return false;
	return __atomic_load_n(&engine.discard_map[vpn.n / 64], __ATOMIC_ACQUIRE) >> (vpn.n % 64) & 1;
}

static void live_wake_kswapd(struct machine *m, unsigned node)
{
	(void)m;
	(void)node;
	pager_wake();
}

static void live_lock(struct machine *m)
{
	(void)m;
	engine_take();
}

static void live_unlock(struct machine *m)
{
	(void)m;
	engine_drop();
}

static void live_relax(struct machine *m)
{
	bool wanted = engine_drop();

	if (task_is_current(&engine.handler)) {
		inbox_receive();
		sys_sched_yield();
	} else {
		uint32_t frames = atomic_load(&engine.frames_wanted);

		if (frames != 0 && phys_free_frames(&m->phys, 0) >= frames) {
			atomic_store(&engine.frames_wanted, 0);
			futex_wake(&engine.frames_wanted);
			wanted = true;
		}
		/* Taking the lock again at once would only send the other one back to sleep. */
		if (wanted)
			sys_sched_yield();
		else
			pager_give_way();
	}
	engine_take();
}

static uint64_t live_now(struct machine *m)
{
	(void)m;
	return now_ns();
}

const struct machine_ops live_ops = {
	.map = live_map,
	.unmap = live_unmap,
	.wake = live_wake,
	.discardable = live_discardable,
	.wake_kswapd = live_wake_kswapd,
	.now_ns = live_now,
	.lock = live_lock,
	.unlock = live_unlock,
	.relax = live_relax,
};

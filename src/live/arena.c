/*
 * The arena: physical memory of the live machine, and the way pages take
 * between it and the program (machine_ops).
 *
 *   arena + pfn × 4096 is the home of frame pfn: an anonymous private mapping,
 *   populated where a frame is or was at home, empty where it is away.
 *
 *   place   MOVE home → address       homes.h
 *   evict   MOVE address → home       EBUSY: unshare first; EINVAL: protect, copy, drop
 *
 * EBUSY is a page that fork shares (MADV_POPULATE_WRITE gives us our own) or
 * that is pinned (then it stays). The copying path serves ranges that are not
 * plain read-write, and kernels before 6.8. Writes are stopped by write protection,
 * the bytes are copied home, and MADV_DONTNEED drops the page. Three things need
 * care: nobody may bring other memory to the address meanwhile (changes_hold);
 * the drop is reported to our own handler, which must know it for ours
 * (engine.dropping); and the page may vanish before it is read, when another
 * thread drops it: then the pager itself faults and the handler answers it
 * with zeros, which is what the page holds by then. Only the pager may copy:
 * the handler would wait for itself.
 */
#include <errno.h>
#include <sys/mman.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"

#define UNMAP_RUN 32
#define HUGE_BYTES (2 * MIB)
#define GIVE_BACK_STEP 4096 /* frames looked at without letting others have the lock */

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

	e->homes.zeros = reserve(HOMES_ZERO_PAGES * PAGE_SIZE);
	e->homes.trash = (uint64_t)(uintptr_t)reserve(HOMES_TRASH_PAGES * PAGE_SIZE);
	if (e->homes.trash == 0 || arena == NULL || frames == NULL || vm == NULL || e->homes.zeros == NULL)
		return -ENOMEM;
	e->homes.start = (uint64_t)(uintptr_t)arena;
	e->homes.frames = frames;
	e->homes.move_again = e->ledger->debug_move_again;
	e->homes.counter = &e->m.counter;
	e->arena_pages = pages;
	e->vm_start = (uint64_t)(uintptr_t)vm;
	e->vm_end = e->vm_start + vm_bytes;
	TAILQ_INIT(&e->balloon);
	int err = phys_init(&e->m.phys, arena, frames, (uint32_t)pages, &zone, 1, NULL);
	if (err != 0)
		return err;
	/* Half a per cent between the marks: what is free is lost to the program, but a stream must not run dry (docs/performance.md). */
	e->m.phys.watermark_scale_factor = 50;
	/* Enough for areas, tables and caches until engagement brings the rest; who inherits has no more to begin with. */
	arena_online(MIN(likely / 4, e->inheriting ? 256 : 512));
	err = machine_init(&e->m, &live_ops, e, e->slot->counter, e->vm_start, e->vm_end);
	if (err != 0)
		return err;
	e->m.vmalloc.vmap = homes_vmap;
	e->m.vmalloc.vunmap = homes_vunmap;
	e->m.vmalloc.ctx = &e->homes;
	e->m.swapins = &e->swapins;
	e->m.policy = policy_nth(e->ledger->policy);
	err = policy_init(&e->m);
	if (err != 0)
		return err;
	return mm_init(&e->mm, &e->m);
}

int arena_register(void)
{
	struct engine *e = &engine;

	/* It would exchange frames under what is recorded of them. */
	e->m.gather = e->homes.can_move && e->ledger->record_ns == 0;
	return homes_register(&e->homes, e->arena_pages);
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
		homes_drop(&engine.homes, homes_of(&engine.homes, f), 1);
		phys_offline(&e->m.phys, &f, 1);
		TAILQ_INSERT_HEAD(&e->balloon, f, link);
		e->nr_balloon++;
	}
	return done;
}

uint64_t arena_give_back(uint64_t n)
{
	struct engine *e = &engine;
	uint64_t done = 0, step;

	for (uint64_t pfn = 0; pfn < e->online_to && done < n; pfn += step) {
		const struct frame *f = &e->homes.frames[pfn];
		uint64_t home = homes_of(&e->homes, f), present = 0;

		step = f->flags & FRAME_BUDDY ? (uint64_t)1 << f->order : 1;
		if (f->flags & FRAME_BUDDY)
			present = proc_count_present(e->homes.pagemap_fd, home, home + (step << PAGE_SHIFT));
		if (present > 0)
			homes_drop(&e->homes, home, (unsigned)step);
		done += present;
		/* Between two blocks: what is a block afterwards is seen anew. */
		if (present > 0 || pfn % GIVE_BACK_STEP == 0)
			live_ops.relax(&e->m);
	}
	return done;
}

/* Pages that are to move, one way or the other. */
struct moving {
	uint64_t address;
	struct frame *const *frames;
	unsigned n;
	bool zero;
};

/* What was read of the range is not followed yet: the program may have seen zeros there, and what the manager has is over. */
static int64_t try_map(const void *ctx)
{
	const struct moving *p = ctx;

	if (inbox_changing(p->address, p->address + ((uint64_t)p->n << PAGE_SHIFT)))
		return -EAGAIN;
	return homes_map(&engine.homes, p->address, p->frames, p->n, p->zero);
}

static int64_t among_changes(int64_t (*try)(const void *ctx), const struct moving *p)
{
	int64_t got = try(p);

	return got == -EAGAIN ? changes_await(p->address, p->address + ((uint64_t)p->n << PAGE_SHIFT), try, p) : got;
}

static int live_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	struct moving p = { vpn_address(vpn), frames, n, zero };

	(void)m;
	(void)mm;
	record_placing(vpn.n, frames, n);
	return (int)among_changes(try_map, &p);
}

/* Writes go on. -EAGAIN: the handler has an event to read, which it will. */
static void unprotect(uint64_t address, uint64_t len)
{
	while (host_protect(engine.homes.prog_fd, address, len, false) == -EAGAIN)
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
		to[i] = (struct iovec){ (void *)(uintptr_t)homes_of(&engine.homes, frames[i]), PAGE_SIZE };
	/* Not memcpy: the range may be without access, or gone. */
	ssize_t got = sys_preadv(engine.mem_fd, to, (int)n, address);

	if (got == (ssize_t)len && drop_copied(address, len) == 0) {
		__atomic_fetch_add(&engine.m.counter[VM_pgcopied], n, __ATOMIC_RELAXED);
		return (int)n;
	}
	unprotect(address, len);
	return -EBUSY;
}

/* Write protection, while no change is under way. 0 or -errno. */
static int64_t try_protect(const void *ctx)
{
	const struct moving *p = ctx;
	uint64_t len = (uint64_t)p->n << PAGE_SHIFT;
	int got = -EAGAIN;

	engine_lock_take(&engine.gate);
	if (!inbox_changing(p->address, p->address + len) && changes_rest())
		got = host_protect(engine.homes.prog_fd, p->address, len, true);
	engine_lock_drop(&engine.gate);
	return got;
}

/* The copying path for n contiguous pages: see the essay. Pager only. Pages done or -errno. */
static int evict_by_copy(uint64_t address, struct frame *const *frames, unsigned n)
{
	struct moving p = { .address = address, .frames = frames, .n = n };

	if (!task_is_current(&engine.pager))
		return -EBUSY;
	changes_hold(HOLD_DROP);
	int got = (int)among_changes(try_protect, &p);

	if (got == 0)
		got = copy_home(address, frames, n);
	changes_let_go(HOLD_DROP);
	return got < 0 && got != -EAGAIN ? -EBUSY : got;
}

/* MOVE, unless the address is about to mean something else. Bytes moved or -errno; -EEXIST: home holds something else. */
static int64_t try_move_home(const void *ctx)
{
	const struct moving *p = ctx;
	uint64_t len = (uint64_t)p->n << PAGE_SHIFT;
	int64_t moved = -EAGAIN;

	engine_lock_take(&engine.gate);
	if (!inbox_changing(p->address, p->address + len))
		moved = homes_move(&engine.homes, homes_of(&engine.homes, p->frames[0]), p->address, len, UFFDIO_MOVE_MODE_DONTWAKE);
	engine_lock_drop(&engine.gate);
	return moved;
}

static int evict_by_move(uint64_t address, struct frame *const *frames, unsigned n)
{
	struct moving p = { .address = address, .frames = frames, .n = n };
	int64_t moved = among_changes(try_move_home, &p);

	if (moved == -EEXIST) {
		/* The home of a frame that is away holds nothing of value; a page placed as zeros left it populated. */
		homes_drop(&engine.homes, homes_of(&engine.homes, frames[0]), n);
		moved = among_changes(try_move_home, &p);
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
		unsigned left = MIN(n - done, UNMAP_RUN), len = homes_contiguous(frames + done, left);
		int got = -EINVAL;

		if (engine.homes.can_move)
			got = evict_by_move(address, frames + done, len);
		if (got < 0 && len > 1 && engine.homes.can_move)
			got = evict_by_move(address, frames + done, len = 1);
		if (got == -EBUSY && task_is_current(&engine.pager) && sys_madvise((void *)(uintptr_t)address, len << PAGE_SHIFT, MADV_POPULATE_WRITE) == 0)
			got = evict_by_move(address, frames + done, len);
		if (got == -EINVAL)
			got = evict_by_copy(address, frames + done, left);
		if (got == -EAGAIN)
			atomic_store(&engine.unsettled, true);
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
	host_wake(engine.homes.prog_fd, vpn_address(vpn), PAGE_SIZE);
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

static void live_wait_begins(struct machine *m, uint64_t now)
{
	(void)m;
	haltpoll_begin(&engine.haltpoll, &engine.ledger->haltpoll, engine.cpu, now);
}

static void live_wait_ended(struct machine *m, uint64_t ns)
{
	(void)m;
	haltpoll_end(&engine.haltpoll, ns);
}

const struct machine_ops live_ops = {
	.map = live_map,
	.unmap = live_unmap,
	.wake = live_wake,
	.discardable = live_discardable,
	.wake_kswapd = live_wake_kswapd,
	.now_ns = live_now,
	.wait_begins = live_wait_begins,
	.wait_ended = live_wait_ended,
	.lock = live_lock,
	.unlock = live_unlock,
	.relax = live_relax,
};

/*
 * The pager: kswapd of the live machine, and its book-keeper.
 *
 *   balloon   online frames = grant − Steward's own − unmanaged memory. When the
 *             program's unmanaged memory grows, or the run wants budget back,
 *             frames are evicted, taken offline and their memory given to the host.
 *   kswapd    while free frames are below HIGH: reclaim_batch
 *   give back memory that free frames still have at home, beyond what kswapd keeps free, is the host's
 *   figures   sizes and peaks to the ledger; bells made ready; unknown areas found; questions answered (ask.c)
 */
#include <errno.h>

#include "base/size.h"
#include "live/clock.h"

#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"
#include "mm/reclaim/reclaim.h"

#define TICK_NS 20000000       /* 20 ms: longest sleep under pressure, and longest work without a look at the books if the run is overdrawn */
#define BEHIND_NS 1000000      /* 1 ms: longest work while there are too many frames */
#define SHARE_NS 200000000     /* 0.2 s between two looks at the others */
#define MEASURE_NS 200000000   /* 0.2 s between two looks at the kernel's books */
#define TURN_NS 100000         /* 0.1 ms: of one turn, where runs are cut */
#define TURN_FAULTS 128        /* runs are cut if there were less faults since the last one */
#define RESCAN_NS 500000000    /* 0.5 s between two searches for unknown areas */
#define OWN_FIXED 128          /* pages: what the engine may take between two looks; what it has is seen by measure() */
#define EXACT_NS 10000000000   /* 10 s between two exact looks while nothing seems to have changed */
#define DRIFT_MAX 64           /* pages by which the sum may change before an exact look */
#define GIVE_BACK_MIN 256      /* pages: less is not worth a walk over the frames */

void pager_wake(void)
{
	if (atomic_exchange(&engine.pager_word, 1) == 0)
		futex_wake(&engine.pager_word);
}

void pager_pause(void)
{
	atomic_store(&engine.pause, 1);
	pager_wake();
	while (atomic_load(&engine.paused) == 0) {
		inbox_receive();
		sys_sched_yield();
	}
}

void pager_resume(void)
{
	atomic_store(&engine.pause, 0);
	futex_wake(&engine.pause);
}

static void stand_still(void)
{
	/* A second pause may begin before the word of the first one is taken back. */
	do {
		while (atomic_load(&engine.pause) != 0) {
			atomic_store(&engine.paused, 1);
			futex_wait(&engine.pause, 1, NULL);
		}
		atomic_store(&engine.paused, 0);
	} while (atomic_load(&engine.pause) != 0);
}

/* Of kswapd. */
struct run {
	uint64_t began; /* ns */
	bool behind;    /* there are more frames than there are to be */
};

/* A program that takes frames as fast as they come free keeps kswapd from ever being done: the books want a look all the same. */
static bool should_stop(void *ctx)
{
	const struct run *run = ctx;
	uint64_t most = run->behind ? BEHIND_NS : ledger_overdrawn(engine.ledger) > 0 ? TICK_NS : MEASURE_NS;

	return atomic_load(&engine.pause) != 0 || now_ns() - run->began > most;
}

/* Pages of ours outside the arena: frame table as far as it is used, and the fixed part. */
static uint64_t own_outside(void)
{
	struct engine *e = &engine;
	uint64_t table = (e->online_to * sizeof(struct frame)) >> PAGE_SHIFT;

	return OWN_FIXED + table + stores_own_pages();
}

/* Frames of page tables, slot tables, slabs. Lock held. */
static uint64_t table_frames(void)
{
	const struct machine *m = &engine.m;
	uint64_t others = phys_free_frames(&m->phys, 0) + engine.zpool.store.stat.frames;

	others += lru_resident(&m->lruvec[0]);
	uint64_t online = phys_managed_frames(&m->phys, 0);

	return online - MIN(online, others);
}

/* Pages of ours that are not at home: mapped in the program, at addresses of vmalloc's, or outside of the arena. Lock held. */
static uint64_t away(void)
{
	const struct machine *m = &engine.m;

	return lru_of_policy(&m->lruvec[0]) + m->vmalloc.nr_pages + own_outside() - OWN_FIXED;
}

/* Pages at home of frames in use: unmapped ones, the pool, tables. Lock held. */
static uint64_t used_at_home(void)
{
	const struct machine *m = &engine.m;
	uint64_t tables = table_frames();

	return lru_unmapped(&m->lruvec[0]) + engine.zpool.store.stat.frames + tables - MIN(tables, m->vmalloc.nr_pages);
}

/*
 * Anonymous pages of the process that are neither in the arena nor managed. Counting the homes that are populated takes
 * milliseconds; while frames only change hands the sum of all stays what it was, and so does the rest.
 */
static uint64_t outside_anon(uint64_t anon, uint64_t now)
{
	static uint64_t anon_then, rest, since;
	struct engine *e = &engine;

	if (anon + DRIFT_MAX > anon_then && anon < anon_then + DRIFT_MAX && now - since < EXACT_NS)
		return rest;
	uint64_t homes = proc_count_present(e->homes.pagemap_fd, e->homes.start, e->homes.start + (e->online_to << PAGE_SHIFT));

	engine_take();
	uint64_t ours = homes + away();

	engine_drop();
	anon_then = anon;
	since = now;
	return rest = anon > ours ? anon - ours : 0;
}

/*
 * The process's part of what it maps of files and shared memory. Pages of files are the kernel's to drop, and beyond a
 * quarter of the budget they do not count against it. Shared memory nobody drops.
 */
static uint64_t mapped_part(const struct proc_memory *mem, uint64_t now)
{
	uint64_t sum = fileage_look(mem->shared - mem->shmem, now) + mem->shmem, part = file_part(sum);
	uint64_t shmem = sum > 0 ? part * mem->shmem / sum : 0;

	return shmem + MIN(part - shmem, atomic_load(&engine.slot->granted) / 4);
}

/* What the process has resident that is neither arena nor managed. */
static void measure(uint64_t now)
{
	struct engine *e = &engine;
	struct proc_memory mem;

	if (proc_memory(&mem, true) != 0)
		return;
	uint64_t others_pages = mem.shared + inherit_look();
	uint64_t anon = mem.resident - MIN(mem.resident, others_pages), rest = outside_anon(anon, now);
	uint64_t mapped = mapped_part(&mem, now);

	engine_take();
	uint64_t others = rest + away() + used_at_home();

	e->unmanaged = rest + mapped + mem.tables;
	e->free_at_home = anon - MIN(anon, others);
	engine_drop();
}

/* A program that gave memory back leaves free frames behind, some of which hold what was compressed there. */
static void give_back(void)
{
	struct engine *e = &engine;

	engine_take();
	uint64_t keep = phys_wmark(&e->m.phys, 0, WMARK_HIGH) + GIVE_BACK_MIN;

	if (e->free_at_home > keep + GIVE_BACK_MIN)
		e->free_at_home -= MIN(e->free_at_home, arena_give_back(e->free_at_home - keep));
	engine_drop();
}

/* Online frames that the budget allows. */
static uint64_t online_target(void)
{
	struct engine *e = &engine;
	uint64_t granted = atomic_load(&e->slot->granted), taken = own_outside() + e->unmanaged + e->promised + e->for_child;

	uint64_t target = granted > taken ? granted - taken : 0;

	if (e->ledger->record_ns == 0)
		return target;
	uint64_t online = phys_managed_frames(&e->m.phys, 0), used = online - phys_free_frames(&e->m.phys, 0);

	return MIN(target, MAX(online, record_frames(used)));
}

uint64_t pager_excess(void)
{
	uint64_t online = phys_managed_frames(&engine.m.phys, 0);

	return online - MIN(online, online_target());
}

uint64_t pager_used(void)
{
	const struct phys *p = &engine.m.phys;

	return own_outside() + engine.unmanaged + phys_managed_frames(p, 0) - phys_free_frames(p, 0);
}

static void too_small(uint64_t missing)
{
	char text[200];
	struct fmt f;
	uint64_t need = MAX(engine.ledger->ram_pages + missing, engine.unmanaged + own_outside()) + 512;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "--ram is too small: what this program needs outside of Steward's reach (code, stacks, shared memory) takes ");
	fmt_size(&f, engine.unmanaged << PAGE_SHIFT);
	fmt_str(&f, "; use --ram ");
	fmt_u64(&f, DIV_ROUND_UP(need << PAGE_SHIFT, MIB));
	fmt_str(&f, "M or more");
	engine_fatal(text);
}

/*
 * Frames that a process is to have beside the tables: the reserve, and pages of the program to work with. One that has not
 * faulted for a while can do with the reserve and a few more, and others work with the rest; when it wakes up it is urgent
 * (share.c), and has it back within two looks.
 */
#define WORKING_MIN 512
#define WORKING_ASLEEP 128
#define ASLEEP_NS 1000000000

static bool is_asleep(uint64_t now)
{
	static uint64_t faults, since;

	if (engine.m.counter[VM_pgfault] != faults) {
		faults = engine.m.counter[VM_pgfault];
		since = now;
	}
	return now - since >= ASLEEP_NS;
}

static uint64_t working_frames(bool asleep)
{
	return asleep ? WORKING_ASLEEP : WORKING_MIN;
}

/* Returns how many frames are still too many. */
static uint64_t balloon(uint64_t now)
{
	struct engine *e = &engine;

	engine_take();
	uint64_t tables = table_frames(), floor = working_frames(is_asleep(now)) + tables;

	uint64_t needed = own_outside() + e->unmanaged + floor;

	share_break_promise(needed);
	fork_room_break(needed);
	uint64_t target = online_target(), online = phys_managed_frames(&e->m.phys, 0);

	if (target < floor) {
		/* Others of the run may have left something, or have no use for it. */
		ledger_demand(e->ledger, e->slot, floor);
		target = online_target();
		/* Alone, it is hopeless. Beside others it gets along with the least until they have given way. */
		if (target < floor && atomic_load(&e->slot->granted) > e->ledger->ram_pages / 4 * 3)
			too_small(floor - target);
		target = MAX(target, WORKING_ASLEEP + tables);
	}
	if (online > target)
		arena_offline(online - target);
	else if (online < target)
		arena_online(target - online);
	/* It may be made now. */
	fork_room_left();
	stores_limit_pool(poolshare_limit(&e->m, target - tables, now));
	online = phys_managed_frames(&e->m.phys, 0);
	engine_drop();
	share_keep_promise(online, target);
	return online - MIN(online, target);
}

static struct share_use use_of_grant(uint64_t now)
{
	const struct phys *p = &engine.m.phys;

	bool asleep = is_asleep(now);

	engine_take();
	uint64_t frames = working_frames(asleep) + table_frames();
	/* kswapd may be beyond its mark by some batches; that is no sign of plenty. */
	uint64_t free = phys_free_frames(p, 0), plenty = 2 * phys_wmark(p, 0, WMARK_HIGH);

	engine_drop();
	return (struct share_use){
		.needed = own_outside() + engine.unmanaged + frames, .idle = free - MIN(free, plenty), .asleep = asleep,
	};
}

/*
 * A run of kswapd takes up to a millisecond, and the program may have to wait for its end: the scheduler takes the
 * pager for one that has had less than its share. One fault in hundreds does not matter; but in a stream, where each fault
 * brings many pages, it is one in twenty. There the run is cut into turns. The pager sleeps between them, because who
 * yields forfeits a whole slice (kernel/sched/fair.c yield_task_fair).
 */
static struct {
	bool cut;
	uint64_t since;  /* ns */
	uint64_t faults; /* counted when the run began */
} turn;

static void turn_begin(uint64_t now)
{
	uint64_t faults = engine.m.counter[VM_pgfault];

	turn.cut = faults - turn.faults < TURN_FAULTS;
	turn.faults = faults;
	turn.since = now;
}

void pager_give_way(void)
{
	const struct timespec moment = { .tv_nsec = 1 };
	const struct phys *p = &engine.m.phys;

	if (!turn.cut || now_ns() - turn.since < TURN_NS || phys_free_frames(p, 0) < phys_wmark(p, 0, WMARK_LOW))
		return;
	sys_nanosleep(&moment, NULL);
	turn.since = now_ns();
}

static void publish_frames(struct ledger_frames *f, const struct machine *m)
{
	const struct lruvec *v = &m->lruvec[0];

	f->free = phys_free_frames(&m->phys, 0);
	f->min = phys_wmark(&m->phys, 0, WMARK_MIN);
	f->low = phys_wmark(&m->phys, 0, WMARK_LOW);
	f->high = phys_wmark(&m->phys, 0, WMARK_HIGH);
	f->active = v->nr[LRU_ACTIVE_ANON];
	f->inactive = lru_of_policy(v) - f->active;
	f->sample = lru_unmapped(v);
	f->online = phys_managed_frames(&m->phys, 0);
}

void pager_publish(void)
{
	struct engine *e = &engine;
	struct ledger_usage *u = &e->slot->now;
	/* A free frame without memory is budget that nobody uses. */
	uint64_t free = phys_free_frames(&e->m.phys, 0), empty = free - MIN(free, e->free_at_home);
	uint64_t held = phys_managed_frames(&e->m.phys, 0) - empty;

	stores_publish();
	publish_frames(&e->slot->frames, &e->m);
	u->managed = e->mm.rss;
	u->own = held - MIN(held, u->managed + u->pool) + own_outside();
	u->unmanaged = e->unmanaged;
	u->swapped = e->mm.swapents;
	if (ledger_usage_total(u) > ledger_usage_total(&e->slot->peak))
		e->slot->peak = *u;
	e->slot->need_peak = MAX(e->slot->need_peak, u->managed + u->swapped + u->unmanaged);
}

/* Sleeps until there is work, a tick at most. */
static void doze(const struct timespec *tick)
{
	if (atomic_load(&engine.pager_word) == 0)
		futex_wait(&engine.pager_word, 0, tick);
	atomic_store(&engine.pager_word, 0);
}

/* Law L4 does not rest on our counting of wake-ups: this is done every now and then. */
void pager_wake_waiting(void)
{
	struct vma *v;

	TAILQ_FOREACH(v, &engine.mm.vmas.list, link)
		host_wake(engine.homes.prog_fd, vpn_address(v->start), (v->end.n - v->start.n) << PAGE_SHIFT);
}

/* When what is done every now and then was done last, ns. */
struct done {
	uint64_t measured, shared, scanned;
};

/* The books, and what follows from them: how many frames there are to be. True: there are more, because none was free. */
static bool keep_books(struct done *last, uint64_t now)
{
	struct engine *e = &engine;

	if (now - last->shared > SHARE_NS || share_is_urgent() || share_has_come_free()) {
		share_look(use_of_grant(now));
		last->shared = now;
	}
	if (now - last->measured > MEASURE_NS) {
		/* Where all memory is granted it does not matter, and an arena of that size takes long to look through. */
		if (e->ledger->record_ns == 0) {
			measure(now);
			give_back();
		}
		last->measured = now_ns();
	}
	if (now - last->scanned > RESCAN_NS) {
		engine_take();
		if (!e->changing)
			native_scan();
		stores_tick(now);
		pager_wake_waiting();
		engine_drop();
		last->scanned = now_ns();
	}
	inherit_tick();
	return balloon(now) > 0;
}

/* One that the changing address space stood in the way of says little. */
static void count_failure(bool failed, bool unsettled)
{
	uint32_t rounds = atomic_load(&engine.hopeless);

	if (!failed)
		rounds = 0;
	else if (!unsettled || rounds == 0)
		rounds++;
	atomic_store(&engine.hopeless, rounds);
}

void pager_run(void *arg)
{
	struct engine *e = &engine;
	struct done last = { .scanned = now_ns() };
	bool at_work = false;

	(void)arg;
	for (;;) {
		struct timespec tick = { .tv_nsec = (long)MIN(TICK_NS, record_patience()) };

		if (!at_work)
			doze(&tick);
		stand_still();
		bell_rearm();
		cpu_tick(now_ns());
		if (atomic_load(&e->state) != LEDGER_ENGAGED)
			continue;
		uint64_t start = now_ns();
		bool fleeting = fork_is_fleeting(start);

		bool behind = !fleeting && keep_books(&last, start);
		record_tick(start);
		engine_take();
		COUNT(&e->m, kswapd_wake);
		turn_begin(start);
		int err = kswapd_balance(&e->m, 0, should_stop, &(struct run){ start, behind });

		/* Some have come free, and are to be taken offline; or it was stopped before there were enough. */
		at_work = err == 0 && (behind || phys_free_frames(&e->m.phys, 0) < phys_wmark(&e->m.phys, 0, WMARK_HIGH));
		count_failure(err != 0, atomic_exchange(&e->unsettled, false));
		/* More will not come: who waits for frames need not wait any longer. */
		if (atomic_exchange(&e->frames_wanted, 0) != 0)
			futex_wake(&e->frames_wanted);
		/* Nearly all that it has is its parent's. */
		if (!fleeting)
			pager_publish();
		e->m.counter[VM_kswapd_ns] += now_ns() - start;
		engine_drop();
		at_work |= ask_answer();
	}
}

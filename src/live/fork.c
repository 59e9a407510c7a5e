/*
 * fork, so that the child has its data.
 *
 * The child gets a copy of everything by copy on write: the arena, the tables,
 * the compressed pool. It needs a userfaultfd and threads of its own, and a
 * manager that was not in the middle of something when it was copied:
 *
 *   parent, first    ROOM: what a child has from the beginning counts in its books as it does in ours, so the grant is divided, and
 *                    what is beyond one's part is evicted, once, before both have it; if that takes long, faults of
 *                    other threads wait, or they would take what comes free
 *   parent, before   FREEZE: the pager stands between two batches, and changes of
 *                    the address space wait; from now on
 *                    the handler answers faults without changing the manager:
 *                    it reads the content and lets the kernel place a copy
 *                    (fork_serve), and it keeps the events for later
 *   parent, after    THAW: the pages served meanwhile are counted, events follow
 *   child            new descriptors, ranges registered, pages that are present
 *                    counted, new threads; then the program goes on
 *
 * Faults must be answered during fork, because the forking thread, or one that
 * holds a lock it needs, may touch memory of the program on its way.
 *
 * What is in stores, both have: stores.c.
 *
 * Budget: pages that both still share count in both, so it does not matter who changes them and when the kernel copies
 * them. They cannot be moved while they are shared: the pager makes its own copy of one before it takes it home (arena.c).
 *
 * A child that only calls exec needs no part, nor does one that ends at once, like what a shell puts into brackets. A process whose
 * last child was such a one forks the next without making
 * room; that child's pager leaves things as they are for a while, and if it lives on, it was
 * taken for what it is not: it has to get its part from the others, and may for a moment have more than the budget.
 * Where nobody has an engine only exec counts: nobody would notice that the next child lives on, and copies what it has.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fmt.h"
#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"
#include "live/proc.h"

#define STUCK_NS 1000000000 /* 1 s without a page less to be evicted, and nothing found that could be: a child must not wait for the sake of a limit */
#define LATE_NS 10000000000 /* 10 s: the same for a pager that only has no CPU */
#define PATIENCE_NS 100000000 /* 0.1 s: from then on other threads, which take each page that comes free, have to wait for the end */
#define LOOK_NS 500000      /* 0.5 ms between two looks */
#define FLEETING_NS 50000000 /* 50 ms, and … */
#define FLEETING_FAULTS 256 /* … so many faults: who has not called exec or ended by then lives on */
#define ENDED_FAULTS 512    /* the kernel's, those of the engine's beginning included: who has had more needed memory of its own */

static uint8_t scratch[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/* The room that is being made. Under the engine's lock. */
static struct {
	uint64_t begun;  /* ns; 0: none is */
	uint64_t least;  /* pages that were left at the best look, and … */
	uint64_t since;  /* … when that was */
	bool postponed;  /* somebody's fault waits for its end */
} room;

/* It is made, or cannot be. */
static void room_ends(void)
{
	room.begun = 0;
	if (room.postponed)
		pager_wake_waiting();
	room.postponed = false;
}

uint64_t fork_room_left(void)
{
	if (room.begun == 0)
		return 0;
	uint64_t left = pager_excess(), now = now_ns();

	if (left < room.least) {
		room.least = left;
		room.since = now;
	}
	if (left > 0 && now - room.since < (atomic_load(&engine.hopeless) != 0 ? STUCK_NS : LATE_NS))
		return left;
	room_ends();
	return 0;
}

static void room_begins(void)
{
	struct engine *e = &engine;
	uint64_t used = pager_used();

	ledger_grant(e->ledger, e->slot, used);
	e->for_child = MIN(used, atomic_load(&e->slot->granted) / 2);
	room.begun = now_ns();
	room.least = UINT64_MAX;
}

int64_t fork_room(bool begin)
{
	struct engine *e = &engine;

	engine_take();
	if (begin && atomic_load(&e->state) == LEDGER_ENGAGED && atomic_load(&e->slot->fleeting) == LEDGER_CHILD_LIVES)
		room_begins();
	uint64_t left = fork_room_left();

	engine_drop();
	if (left > 0)
		pager_wake();
	return (int64_t)left;
}

void fork_room_break(uint64_t needed)
{
	struct engine *e = &engine;
	uint64_t granted = atomic_load(&e->slot->granted);

	e->for_child = MIN(e->for_child, granted - MIN(granted, needed + e->promised));
}

bool fork_postpones(uint64_t now)
{
	bool late = room.begun != 0 && now - room.begun > PATIENCE_NS;

	room.postponed |= late;
	return late;
}

void fork_make_room(void)
{
	const struct timespec moment = { .tv_nsec = LOOK_NS };

	for (bool begin = true; bell_ring(BELL_ROOM, begin, 0, 0) > 0; begin = false)
		sys_nanosleep(&moment, NULL);
}

/*
 * The process has changed its user, and the C library that does it thread by thread does not know ours. A child opens our files through /proc, where
 * it may only what it is; so we become the same. A file without a name is nobody else's, whatever its mode.
 */
static void follow_user(uint32_t uid, uint32_t gid)
{
	if ((uint32_t)sys_call3(SYS_geteuid, 0, 0, 0) == uid)
		return;
	stores_open_to_all();
	sys_call3(SYS_setgroups, 0, 0, 0);
	sys_call3(SYS_setresgid, gid, gid, gid);
	sys_call3(SYS_setresuid, uid, uid, uid);
	/* The kernel has taken it back. */
	proc_set_dumpable(1);
}

int64_t fork_freeze(uint32_t uid, uint32_t gid)
{
	struct engine *e = &engine;

	if (atomic_load(&e->state) == LEDGER_ENGAGED)
		pager_pause();
	bell_arm_thaw();
	changes_settle();
	e->fleeting = e->for_child == 0 && atomic_load(&e->slot->fleeting) != LEDGER_CHILD_LIVES;
	e->nr_frozen = 0;
	e->frozen = true;
	/* The child will open our swap files through /proc. */
	e->dumpable = proc_set_dumpable(1);
	follow_user(uid, gid);
	stores_share();
	return 0;
}

static void readopt(void *ctx, uint64_t address)
{
	const bool *all = ctx;

	/* Or it is inherited. */
	if (!*all && pte_is_none(pt_get(&engine.mm.pt, vpn_of(address))))
		return;
	/* -ENOMEM: the page stays uncounted until it is unmapped; its content is where it should be. */
	mm_readopt(&engine.mm, vpn_of(address));
}

/* Counts every present page that the manager believes elsewhere. Lock held. */
static void readopt_all(void)
{
	bool all = engine.inherited == 0;
	struct vma *v;

	TAILQ_FOREACH(v, &engine.mm.vmas.list, link)
		if (!(v->flags & VMA_LOCKED))
			proc_present(engine.homes.pagemap_fd, vpn_address(v->start), vpn_address(v->end), readopt, &all);
}

int64_t fork_thaw(void)
{
	struct engine *e = &engine;
	bool all = true;

	engine_take();
	if (atomic_load(&e->state) == LEDGER_ENGAGED) {
		/* Only what the kernel shows: a copy may have been refused, and then the old one is the only one. */
		for (unsigned i = 0; i < MIN(e->nr_frozen, FREEZE_LOG); i++)
			proc_present(e->homes.pagemap_fd, e->log[i], e->log[i] + PAGE_SIZE, readopt, &all);
		if (e->nr_frozen > FREEZE_LOG)
			readopt_all();
	}
	e->frozen = false;
	e->for_child = 0;
	e->fleeting = false;
	proc_set_dumpable(e->dumpable);
	engine_drop();
	changes_let_go(HOLD_FORK);
	bell_wake();
	if (atomic_load(&e->state) == LEDGER_ENGAGED)
		pager_resume();
	return 0;
}

void fork_serve(vpn_t vpn)
{
	struct engine *e = &engine;
	uint64_t address = vpn_address(vpn);
	swp_t entry;
	int got = atomic_load(&e->state) == LEDGER_ENGAGED ? mm_peek(&e->mm, vpn, scratch) : -EFAULT;

	switch (got) {
	case 0:
		host_copy(e->homes.prog_fd, address, e->homes.zeros, PAGE_SIZE, 0);
		break;
	case 1:
		host_copy(e->homes.prog_fd, address, scratch, PAGE_SIZE, 0);
		break;
	case -EEXIST:
		break;
	case -EFAULT:
		host_unregister(e->homes.prog_fd, address, PAGE_SIZE);
		break;
	default:
		entry = pte_swp(pt_get(&e->mm.pt, vpn));
		stores_lost(vpn, swp_area(entry), swp_slot(entry), got);
	}
	if (got >= 0) {
		if (e->nr_frozen < FREEZE_LOG)
			e->log[e->nr_frozen] = address;
		e->nr_frozen++;
	}
	/* A write to what is inherited: it may be the forking thread's, and nobody else will let it go on. */
	if (e->inherited > 0)
		host_protect(e->homes.prog_fd, address, PAGE_SIZE, false);
	host_wake(e->homes.prog_fd, address, PAGE_SIZE);
}

static void claim_slot(void)
{
	struct engine *e = &engine;
	struct ledger_slot *parent = e->slot;

	e->slot = ledger_claim(e->ledger, sys_getpid(), proc_start_time());
	if (e->slot == NULL)
		engine_fatal("too many processes in one run");
	e->slot->parent = (uint32_t)(parent - e->ledger->slot) + 1;
	memcpy(e->slot->comm, parent->comm, sizeof(parent->comm));
	record_attach(true);
	cpu_child(parent);
	e->m.counter = e->slot->counter;
	if (atomic_load(&e->state) != LEDGER_ENGAGED)
		return;
	atomic_fetch_sub(&parent->granted, e->for_child);
	atomic_fetch_add(&e->slot->granted, e->for_child);
	e->for_child = 0;
	e->born = now_ns();
	atomic_store(&e->slot->state, LEDGER_ENGAGED);
}

struct ledger_slot *fork_parent(void)
{
	const struct ledger_slot *s = engine.slot;
	struct ledger_slot *parent = s->parent != 0 ? &engine.ledger->slot[s->parent - 1] : NULL;

	return parent != NULL && atomic_load(&parent->pid) == sys_getppid() ? parent : NULL;
}

void fork_take_part(void)
{
	struct ledger_slot *parent = fork_parent();

	if (parent != NULL && atomic_load(&engine.state) == LEDGER_NATIVE)
		inherit_part(parent);
}

static void parent_learns(enum ledger_fleeting what)
{
	struct ledger_slot *parent = fork_parent();

	if (parent != NULL)
		atomic_store(&parent->fleeting, what);
}

void fork_execed(void)
{
	struct ledger_slot *s = engine.slot;

	/* Without an engine it may have lived long, but not if it never mapped memory. */
	if (s->counter[VM_pgfault] < FLEETING_FAULTS && (atomic_load(&s->state) == LEDGER_ENGAGED || atomic_load(&s->allowed) == 0))
		parent_learns(LEDGER_CHILD_EXECS);
	s->parent = 0;
}

void fork_lives(void)
{
	parent_learns(LEDGER_CHILD_LIVES);
}

void fork_ends(void)
{
	struct engine *e = &engine;
	struct rusage used = { 0 };

	if (atomic_load(&e->state) != LEDGER_ENGAGED || now_ns() - e->born >= FLEETING_NS)
		return;
	sys_call3(SYS_getrusage, RUSAGE_SELF, (long)&used, 0);
	if (used.ru_minflt < ENDED_FAULTS)
		parent_learns(LEDGER_CHILD_ENDS);
}

bool fork_is_fleeting(uint64_t now)
{
	struct engine *e = &engine;

	if (!e->fleeting || (now - e->born < FLEETING_NS && e->m.counter[VM_pgfault] < FLEETING_FAULTS))
		return e->fleeting;
	e->fleeting = false;
	fork_lives();
	return false;
}

static void stay_native(void)
{
	atomic_store(&engine.program_threads, 1);
	atomic_store(&engine.slot->state, LEDGER_NATIVE);
}

/* Zeros, written only where there are none: what is written is copied, and most was never used. */
_Static_assert(sizeof(struct engine) <= 256 * KIB, "each child looks at all of it");
static void wipe(void *start, size_t bytes)
{
	uint64_t __attribute__((may_alias)) *word = start;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		if (word[i] != 0)
			word[i] = 0;
}

/* The child of a process that was not engaged has all its memory: it starts from nothing. */
static void forget_engine(void)
{
	struct engine *e = &engine;
	struct ledger *ledger = e->ledger;
	struct ledger_slot *slot = e->slot;
	int device = e->device, pid = e->pid, (*ask_device)(void) = e->ask_device;
	uint64_t main_tcb = e->main_tcb, *discard_map = e->discard_map;

	engine_unmap_own(discard_map);
	wipe(e, sizeof(*e));
	e->ledger = ledger;
	e->slot = slot;
	e->device = device;
	e->ask_device = ask_device;
	e->pid = pid;
	e->main_tcb = main_tcb;
	e->discard_map = discard_map;
	if (discard_map != NULL)
		engine_own((uint64_t)(uintptr_t)discard_map, DISCARD_MAP_BYTES);
	atomic_store(&e->state, LEDGER_NATIVE);
	stay_native();
}

/* The first part of [at, end) that is not mapped. */
struct hole {
	uint64_t at, end;
	uint64_t start; /* of the hole; its end is at */
	bool found;
};

static bool find_hole(void *ctx, const struct proc_area *a)
{
	struct hole *h = ctx;

	if (a->end <= h->at)
		return true;
	h->found = a->start > h->at;
	if (!h->found) {
		h->at = a->end;
		return h->at < h->end;
	}
	h->start = h->at;
	h->at = MIN(a->start, h->end);
	return false;
}

/*
 * An area of which another thread of the parent had unmapped a part, and nobody
 * had followed yet when it was copied: forgets that part. 0, or why not.
 */
static int forget_hole(const struct vma *v)
{
	struct hole h = { .at = vpn_address(v->start), .end = vpn_address(v->end) };
	int err = proc_maps(find_hole, &h);

	if (err == 0 && !h.found && h.at < h.end) {
		h.found = true;
		h.start = h.at;
		h.at = h.end;
	}
	if (err == 0 && !h.found)
		err = -EINVAL;
	return err != 0 ? err : mm_unmap(&engine.mm, vpn_of(h.start), vpn_of(h.at));
}

static int register_areas(void)
{
	struct engine *e = &engine;
	int err = arena_register();

	if (err == 0)
		err = bell_register();
	for (struct vma *v = TAILQ_FIRST(&e->mm.vmas.list); err == 0 && v != NULL;) {
		uint64_t len = (v->end.n - v->start.n) << PAGE_SHIFT;
		bool done = host_register(e->homes.prog_fd, vpn_address(v->start), len, !(v->flags & VMA_LOCKED)) == 0;

		if (!done)
			err = forget_hole(v);
		/* What was registered is registered again, which changes nothing. */
		v = done ? TAILQ_NEXT(v, link) : TAILQ_FIRST(&e->mm.vmas.list);
	}
	return err;
}

void fork_child(void)
{
	struct engine *e = &engine;
	int parent_pid = e->pid, parent_handler = atomic_load(&e->handler.tid);

	e->pid = sys_getpid();
	/* Nobody else is here. Locks that others held when we were copied are free. */
	atomic_store(&e->lock.word, 0);
	atomic_store(&e->gate.word, 0);
	atomic_store(&e->changers, 0);
	atomic_store(&e->change_lock.word, 0);
	atomic_store(&e->holds, 0);
	atomic_store(&e->aging, 0);
	atomic_store(&e->held, 0);
	/* It may have been copied between its two words. */
	pt_forget_cached(&e->mm.pt);
	if (e->frozen)
		proc_set_dumpable(e->dumpable);
	e->frozen = false;
	e->promised = 0;
	claim_slot();
	if (atomic_load(&e->state) == LEDGER_NATIVE) {
		stay_native();
		return;
	}
	if (atomic_load(&e->state) == LEDGER_ARMED) {
		forget_engine();
		return;
	}
	ahead_init();
	proc_raise_limit();
	int err = engine_reopen();

	if (err == 0)
		err = stores_inherit(parent_pid, parent_handler);
	/* Of those that were not announced. */
	if (err == 0)
		handler_follow();
	if (err == 0)
		err = register_areas();
	if (err == 0) {
		inherit_again();
		readopt_all();
		err = engine_restart();
	}
	proc_restore_limit();
	if (err != 0)
		engine_fatal("cannot serve a child after fork: userfaultfd or the parent's swap file was refused");
}

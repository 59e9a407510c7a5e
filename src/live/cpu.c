/*
 * Where the threads run.
 *
 * A fault wakes the handler. On the same CPU that costs a context switch, on
 * another one that sleeps several times as much; and every page that leaves
 * must be flushed from the TLBs of all CPUs that the process runs on, which in
 * a virtual machine costs more than all the rest of a fault
 * (docs/performance.md). So:
 *
 *   confined   the program's threads, the handler and the pager share one CPU
 *   spread     threads run where they like; the handler follows the one that
 *              faults, the pager takes the other CPUs
 *
 * One thread is confined while it pages: it waits for its faults anyway, and the
 * scheduler would carry it off to an idle CPU each time the handler wakes it.
 * With several threads it depends on what they do between their faults, so both
 * ways are tried in turn: the one with more pages a second is the one in which
 * the program gets on faster, and is kept for HOLD_NS, twice as long each time
 * that it wins again. A program that is confined when it makes its second thread
 * stays so for that time: most of what threads do under pressure is to wait.
 *
 * The program must not notice. It is confined only while it spends more than one
 * STALL_SHARE-th of its time waiting for faults, is let go after IDLE_NS without one, and now and then so that the
 * scheduler can move it off a CPU that others want. What it asks about its
 * affinity is answered from what it was (preload/affinity.c), and threads,
 * children and images after exec start with that: cpu_release before the first
 * two, cpu_attach in the last.
 *
 * Where does a thread run? The kernel keeps the CPU number of every thread in
 * its rseq area (restartable sequences, registered by glibc since 2.35); each
 * program thread says where that is when it starts. The area lies with the
 * thread's TCB, which is never managed memory, and the thread is alive, because
 * it waits for us. A thread that we do not know is not followed.
 */
#include "live/engine.h"

#define THREADS 1024 /* a power of two; more threads than this are not followed */
#define STALL_SHARE 4
#define STALL_WINDOW_NS 5000000 /* 5 ms */
#define IDLE_NS 200000000     /* 0.2 s */
#define WINDOW_NS 100000000   /* 0.1 s in which faults are counted for a decision */
#define TRIAL_NS 30000000     /* 30 ms: the same for the way that is only tried */
#define HOLD_NS 3000000000    /* 3 s */
#define HOLD_MAX_NS 24000000000 /* 24 s */

struct thread_cpu {
	_Atomic int32_t tid;
	const volatile uint32_t *_Atomic cpu_id;
	_Atomic bool pinned;  /* by us; changed under pin_lock, as the next two */
	int cpu;              /* where to */
	cpu_set_t affinity;   /* what it had before */
};

static struct thread_cpu threads[THREADS];
static _Atomic uint32_t nr_slots; /* of the table, that may have been used: index of the last one, plus 1 */
static cpu_set_t allowed;         /* of the process when the engine started */
static int last_seen;
static struct {
	uint64_t since, stall; /* where the window of is_stalled began */
} look;

static struct engine_lock pin_lock;
static _Atomic bool confined;
static _Atomic uint32_t loose; /* threads that must not be pinned now: they make others */
static _Atomic uint64_t last_fault; /* writer: handler */

/* The trial of both ways, with several threads. Pager only. */
static struct {
	uint64_t since, pages, stall; /* where the window began */
	uint64_t hold_until, hold_ns;
	uint64_t rate[2];       /* pages served a second when spread, when confined */
	bool fresh;             /* the window has begun under the present way */
	bool several;           /* there were several threads at the last look */
} trial;

static unsigned first_slot(int tid)
{
	return ((unsigned)tid * 2654435761u) >> 22 & (THREADS - 1);
}

static struct thread_cpu *find(int tid)
{
	for (unsigned i = 0; i < 16; i++) {
		struct thread_cpu *t = &threads[(first_slot(tid) + i) & (THREADS - 1)];

		if (atomic_load(&t->tid) == tid)
			return t;
	}
	return NULL;
}

static struct thread_cpu *claim(int tid)
{
	for (unsigned i = 0; i < 16; i++) {
		struct thread_cpu *t = &threads[(first_slot(tid) + i) & (THREADS - 1)];
		int32_t none = 0;

		if (!atomic_compare_exchange_strong(&t->tid, &none, tid))
			continue;
		uint32_t index = (uint32_t)(t - threads), used = atomic_load(&nr_slots);

		while (used <= index && !atomic_compare_exchange_weak(&nr_slots, &used, index + 1))
			;
		return t;
	}
	return NULL;
}

void cpu_thread(int tid, const volatile uint32_t *cpu_id)
{
	struct thread_cpu *t = find(tid);

	if (t == NULL && cpu_id != NULL)
		t = claim(tid);
	if (t == NULL)
		return;
	atomic_store(&t->pinned, false);
	atomic_store(&t->cpu_id, cpu_id);
	if (cpu_id == NULL)
		atomic_store(&t->tid, 0);
}

static int cpu_of(int tid)
{
	struct thread_cpu *t = find(tid);
	const volatile uint32_t *cpu = t != NULL ? atomic_load(&t->cpu_id) : NULL;

	return cpu != NULL ? (int)*cpu : -1;
}

void cpu_init(void)
{
	CPU_ZERO(&allowed);
	sys_sched_getaffinity(0, sizeof(allowed), &allowed);
	engine.cpu = last_seen = -1;
	for (int cpu = 0; CPU_COUNT(&allowed) == 1 && engine.cpu < 0; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			engine.cpu = cpu;
}

static void set_cpu(int tid, int cpu)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	sys_sched_setaffinity(tid, sizeof(here), &here);
}

/* Lock held. */
static void pin(struct thread_cpu *t, int cpu)
{
	int tid = atomic_load(&t->tid);

	CPU_ZERO(&t->affinity);
	if (sys_sched_getaffinity(tid, sizeof(t->affinity), &t->affinity) < 0)
		return;
	engine.slot->affinity = t->affinity;
	atomic_store(&engine.slot->pinned, 1);
	t->cpu = cpu;
	atomic_store(&t->pinned, true);
	set_cpu(tid, cpu);
}

/* Lock held. The affinity is given back, unless somebody else has changed it since. */
static void unpin(struct thread_cpu *t)
{
	int tid = atomic_load(&t->tid);
	cpu_set_t now;

	atomic_store(&t->pinned, false);
	CPU_ZERO(&now);
	if (sys_sched_getaffinity(tid, sizeof(now), &now) >= 0 && CPU_COUNT(&now) == 1 && CPU_ISSET(t->cpu, &now))
		sys_sched_setaffinity(tid, sizeof(t->affinity), &t->affinity);
}

/* All that are there now; who comes later is met by the next call. */
static void pin_threads(void)
{
	uint32_t n = atomic_load(&nr_slots);

	engine_lock_take(&pin_lock);
	for (uint32_t i = 0; i < n && atomic_load(&loose) == 0; i++)
		if (atomic_load(&threads[i].tid) != 0 && !atomic_load(&threads[i].pinned))
			pin(&threads[i], engine.cpu);
	engine_lock_drop(&pin_lock);
}

static void confine(int cpu)
{
	/* First, so that the handler does not follow anybody any more. */
	atomic_store(&confined, true);
	engine.cpu = cpu;
	set_cpu(atomic_load(&engine.handler.tid), cpu);
	set_cpu(atomic_load(&engine.pager.tid), cpu);
	pin_threads();
}

static void spread(void)
{
	uint32_t n = atomic_load(&nr_slots);

	engine_lock_take(&pin_lock);
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load(&threads[i].tid) != 0 && atomic_load(&threads[i].pinned))
			unpin(&threads[i]);
	atomic_store(&engine.slot->pinned, 0);
	engine_lock_drop(&pin_lock);
	last_seen = -1;
	atomic_store(&confined, false);
}

static uint64_t stall_ns(void)
{
	return engine.m.counter[VM_stall_ns];
}

static uint64_t pages_served(void)
{
	const uint64_t *c = engine.m.counter;

	return c[VM_pgfault] + c[VM_pswpin];
}

/* The program waits for its faults so much that where we run matters. */
static bool is_stalled(uint64_t now)
{
	if (now - look.since < STALL_WINDOW_NS)
		return false;
	bool stalled = (stall_ns() - look.stall) * STALL_SHARE > now - look.since;

	look.since = now;
	look.stall = stall_ns();
	return stalled;
}

static void follow_several(int cpu)
{
	struct engine *e = &engine;
	cpu_set_t elsewhere = allowed;

	/* Twice in a row: several threads on several CPUs must not drag the handler to and fro. */
	bool again = cpu == last_seen;

	last_seen = cpu;
	if (cpu == e->cpu || !again)
		return;
	set_cpu(atomic_load(&e->handler.tid), cpu);
	e->cpu = cpu;
	/* The pager must not compete with the thread it serves. */
	CPU_CLR(cpu, &elsewhere);
	if (CPU_COUNT(&elsewhere) > 0)
		sys_sched_setaffinity(atomic_load(&e->pager.tid), sizeof(elsewhere), &elsewhere);
}

static bool is_single(void)
{
	return atomic_load(&engine.program_threads) == 1;
}

void cpu_follow(int tid, uint64_t now)
{
	atomic_store_explicit(&last_fault, now, memory_order_relaxed);
	if (atomic_load_explicit(&confined, memory_order_relaxed) || CPU_COUNT(&allowed) == 1)
		return;
	int cpu = cpu_of(tid);

	if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
		return;
	if (!is_single())
		follow_several(cpu);
	else if (is_stalled(now))
		confine(cpu);
}

static void begin_window(uint64_t now)
{
	trial.since = now;
	trial.pages = pages_served();
	trial.stall = stall_ns();
}

static void change_way(uint64_t now)
{
	if (atomic_load(&confined))
		spread();
	else if (engine.cpu >= 0)
		confine(engine.cpu);
	begin_window(now);
}

static void hold(uint64_t now, uint64_t ns)
{
	trial.fresh = false;
	trial.hold_ns = MIN(ns, (uint64_t)HOLD_MAX_NS);
	trial.hold_until = now + trial.hold_ns;
}

/* The end of a window with several threads: stay, or try the other way. */
static void judge(uint64_t now)
{
	bool way = atomic_load(&confined);
	uint64_t took = now - trial.since, rate = (pages_served() - trial.pages) * 1000000 / (took / 1000);
	bool stalled = (stall_ns() - trial.stall) * STALL_SHARE > took;

	trial.rate[way] = rate;
	begin_window(now);
	/* They compute more than they wait: all CPUs are theirs. */
	if (!stalled) {
		if (way)
			change_way(now);
		hold(now, 0);
		return;
	}
	if (now < trial.hold_until)
		return;
	/* Both are known only after the trial of the other one. */
	if (!trial.fresh) {
		trial.fresh = true;
		change_way(now);
		return;
	}
	/* The way before the trial has won again, or the new one has. */
	if (trial.rate[!way] > rate) {
		hold(now, MAX(2 * trial.hold_ns, (uint64_t)HOLD_NS));
		change_way(now);
	} else {
		hold(now, HOLD_NS);
	}
}

void cpu_tick(uint64_t now)
{
	bool idle = now - atomic_load_explicit(&last_fault, memory_order_relaxed) > IDLE_NS;

	if (atomic_load(&confined) && idle) {
		spread();
		hold(now, 0);
	}
	bool had_several = trial.several;

	trial.several = !is_single();
	if (trial.several && !had_several && atomic_load(&confined)) {
		begin_window(now);
		hold(now, HOLD_NS);
		pin_threads();
	}
	if (now - trial.since < (trial.fresh ? TRIAL_NS : WINDOW_NS) || CPU_COUNT(&allowed) == 1)
		return;
	if (trial.several) {
		judge(now);
		if (atomic_load(&confined))
			pin_threads();
		return;
	}
	if (atomic_load(&confined) && now - trial.since > HOLD_NS)
		change_way(now);
}

void cpu_release(void)
{
	struct thread_cpu *t;
	uint64_t signals;

	atomic_fetch_add(&loose, 1);
	t = atomic_load(&confined) ? find(sys_gettid()) : NULL;
	if (t == NULL)
		return;
	signals_block(&signals);
	engine_lock_take(&pin_lock);
	if (atomic_load(&t->pinned))
		unpin(t);
	engine_lock_drop(&pin_lock);
	signals_restore(&signals);
}

void cpu_released(void)
{
	atomic_fetch_sub(&loose, 1);
}

bool cpu_affinity(int tid, cpu_set_t *set)
{
	struct thread_cpu *t = atomic_load(&confined) ? find(tid) : NULL;
	uint64_t signals;

	if (t == NULL)
		return false;
	signals_block(&signals);
	engine_lock_take(&pin_lock);
	bool pinned = atomic_load(&t->pinned);
	cpu_set_t affinity = t->affinity;

	engine_lock_drop(&pin_lock);
	signals_restore(&signals);
	if (pinned)
		*set = affinity;
	return pinned;
}

bool cpu_tcb_within(uint64_t start, uint64_t end)
{
	uint32_t n = atomic_load(&nr_slots);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t tcb = (uint64_t)(uintptr_t)atomic_load(&threads[i].cpu_id);

		if (atomic_load(&threads[i].tid) != 0 && start <= tcb && tcb < end)
			return true;
	}
	return false;
}

void cpu_attach(struct ledger_slot *slot)
{
	if (atomic_exchange(&slot->pinned, 0) != 0)
		sys_sched_setaffinity(0, sizeof(slot->affinity), &slot->affinity);
}

void cpu_child(const struct ledger_slot *parent)
{
	uint32_t n = atomic_load(&nr_slots);

	atomic_store(&pin_lock.word, 0);
	if (atomic_load(&confined) && atomic_load(&parent->pinned))
		sys_sched_setaffinity(0, sizeof(parent->affinity), &parent->affinity);
	/* The parent's threads are not here; ours says so anew. */
	for (uint32_t i = 0; i < n; i++)
		atomic_store(&threads[i].tid, 0);
	atomic_store(&confined, false);
	atomic_store(&loose, 0);
	trial.since = 0;
	hold(0, 0);
	atomic_store(&engine.program_threads, 1);
}

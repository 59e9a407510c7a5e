/*
 * Where the threads run.
 *
 * A fault wakes the handler. On the same CPU that costs a context switch, on
 * another one that sleeps several times as much; and every page that leaves
 * must be flushed from the TLBs of all CPUs that the process runs on, which in
 * a virtual machine costs more than all the rest of a fault
 * (docs/performance.md). So:
 *
 *   one program thread    it, the handler and the pager share one CPU while pages
 *                         come and go. It waits for its faults anyway, and the
 *                         scheduler would carry it off to an idle CPU each time
 *                         the handler wakes it.
 *   several               the handler follows the one that faults, the pager
 *                         takes the other CPUs.
 *
 * The program must not notice. It is pinned only while it faults FAULTS_DENSE
 * times in DENSE_NS, is let go after IDLE_NS without a fault, and now and then
 * so that the scheduler can move it off a CPU that others want. What it asks
 * about its affinity is answered from what it was (preload/affinity.c), and
 * threads, children and images after exec start with that: cpu_release before
 * the first two, cpu_attach in the last.
 *
 * Where does a thread run? The kernel keeps the CPU number of every thread in
 * its rseq area (restartable sequences, registered by glibc since 2.35); each
 * program thread says where that is when it starts. The area lies with the
 * thread's TCB, which is never managed memory, and the thread is alive, because
 * it waits for us. A thread that we do not know is not followed.
 */
#include "live/engine.h"

#define THREADS 1024 /* a power of two; more threads than this are not followed */
#define FAULTS_DENSE 64
#define DENSE_NS 50000000     /* 50 ms */
#define IDLE_NS 200000000     /* 0.2 s */
#define REPLACE_NS 2000000000 /* 2 s */

struct thread_cpu {
	_Atomic int32_t tid;
	const volatile uint32_t *_Atomic cpu_id;
};

static struct thread_cpu threads[THREADS];
static cpu_set_t allowed;  /* of the process when the engine started */
static int last_seen;
static unsigned nr_faults; /* since dense_since */
static uint64_t dense_since;

/* The program thread that we have pinned; slot->affinity is what it had before. */
static struct engine_lock pin_lock;
static _Atomic int32_t pinned;
static uint64_t pinned_at;
static _Atomic uint64_t last_fault;

static unsigned first_slot(int tid)
{
	return ((unsigned)tid * 2654435761u) >> 22 & (THREADS - 1);
}

void cpu_thread(int tid, const volatile uint32_t *cpu_id)
{
	for (unsigned i = 0; i < 16; i++) {
		struct thread_cpu *t = &threads[(first_slot(tid) + i) & (THREADS - 1)];
		int32_t owner = atomic_load(&t->tid);

		if (owner == tid || (owner == 0 && cpu_id != NULL &&
				     atomic_compare_exchange_strong(&t->tid, &owner, tid))) {
			atomic_store(&t->cpu_id, cpu_id);
			if (cpu_id == NULL)
				atomic_store(&t->tid, 0);
			return;
		}
	}
}

static int cpu_of(int tid)
{
	for (unsigned i = 0; i < 16; i++) {
		struct thread_cpu *t = &threads[(first_slot(tid) + i) & (THREADS - 1)];

		if (atomic_load(&t->tid) != tid)
			continue;
		const volatile uint32_t *cpu = atomic_load(&t->cpu_id);
		return cpu != NULL ? (int)*cpu : -1;
	}
	return -1;
}

void cpu_init(void)
{
	CPU_ZERO(&allowed);
	sys_sched_getaffinity(0, sizeof(allowed), &allowed);
	engine.cpu = last_seen = -1;
}

static bool is_only(const cpu_set_t *set, int cpu)
{
	return CPU_COUNT(set) == 1 && CPU_ISSET(cpu, set);
}

static void set_cpu(int tid, int cpu)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	sys_sched_setaffinity(tid, sizeof(here), &here);
}

/* Lock held. The affinity is given back, unless somebody else has changed it since. */
static void unpin(void)
{
	struct ledger_slot *slot = engine.slot;
	int32_t tid = atomic_exchange(&pinned, 0);
	cpu_set_t now;

	if (tid == 0)
		return;
	CPU_ZERO(&now);
	if (sys_sched_getaffinity(tid, sizeof(now), &now) >= 0 && is_only(&now, engine.cpu))
		sys_sched_setaffinity(tid, sizeof(slot->affinity), &slot->affinity);
	atomic_store(&slot->pinned, 0);
}

static void pin(int tid, int cpu, uint64_t now)
{
	struct engine *e = &engine;

	engine_lock_take(&pin_lock);
	unpin();
	CPU_ZERO(&e->slot->affinity);
	if (sys_sched_getaffinity(tid, sizeof(e->slot->affinity), &e->slot->affinity) >= 0) {
		e->cpu = cpu;
		pinned_at = now;
		atomic_store(&e->slot->pinned, 1);
		atomic_store(&pinned, tid);
		set_cpu(tid, cpu);
		set_cpu(atomic_load(&e->handler.tid), cpu);
		set_cpu(atomic_load(&e->pager.tid), cpu);
	}
	engine_lock_drop(&pin_lock);
}

/* Faults come so fast that where we run matters. */
static bool is_dense(uint64_t now)
{
	if (++nr_faults < FAULTS_DENSE)
		return false;
	bool dense = now - dense_since < DENSE_NS;

	dense_since = now;
	nr_faults = 0;
	return dense;
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

void cpu_follow(int tid, uint64_t now)
{
	int cpu = cpu_of(tid);

	atomic_store_explicit(&last_fault, now, memory_order_relaxed);
	if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
		return;
	if (atomic_load(&engine.program_threads) > 1)
		follow_several(cpu);
	else if (atomic_load(&pinned) != tid && is_dense(now))
		pin(tid, cpu, now);
}

void cpu_tick(uint64_t now)
{
	if (atomic_load(&pinned) == 0)
		return;
	engine_lock_take(&pin_lock);
	bool idle = now - atomic_load_explicit(&last_fault, memory_order_relaxed) > IDLE_NS;

	if (idle || now - pinned_at > REPLACE_NS)
		unpin();
	engine_lock_drop(&pin_lock);
}

void cpu_release(void)
{
	if (atomic_load(&pinned) == 0)
		return;
	engine_lock_take(&pin_lock);
	unpin();
	engine_lock_drop(&pin_lock);
}

bool cpu_affinity(int tid, cpu_set_t *set)
{
	bool is_pinned = false;

	if (atomic_load(&pinned) == 0)
		return false;
	engine_lock_take(&pin_lock);
	is_pinned = atomic_load(&pinned) == tid;
	if (is_pinned)
		*set = engine.slot->affinity;
	engine_lock_drop(&pin_lock);
	return is_pinned;
}

void cpu_attach(struct ledger_slot *slot)
{
	if (atomic_exchange(&slot->pinned, 0) != 0)
		sys_sched_setaffinity(0, sizeof(slot->affinity), &slot->affinity);
}

void cpu_child(const struct ledger_slot *parent)
{
	atomic_store(&pin_lock.word, 0);
	if (atomic_exchange(&pinned, 0) != 0)
		sys_sched_setaffinity(0, sizeof(parent->affinity), &parent->affinity);
	atomic_store(&engine.program_threads, 1);
}

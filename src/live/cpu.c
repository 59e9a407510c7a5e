/*
 * The handler follows the faulting thread: a wake-up on the same CPU costs a
 * context switch, one on another CPU that sleeps costs several times as much
 * (docs/performance.md).
 *
 * Where does the thread run? The kernel keeps the CPU number of every thread in
 * its rseq area (restartable sequences, registered by glibc since 2.35); each
 * program thread says where that is when it starts. The area lies with the
 * thread's TCB, which is never managed memory, and the thread is alive, because
 * it waits for us. A thread that we do not know is not followed.
 */
#include <sched.h>

#include "live/engine.h"

#define THREADS 1024 /* a power of two; more threads than this are not followed */

struct thread_cpu {
	_Atomic int32_t tid;
	const volatile uint32_t *_Atomic cpu_id;
};

static struct thread_cpu threads[THREADS];
static cpu_set_t allowed;
static int last_seen;

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
	sys_call3(SYS_sched_getaffinity, 0, sizeof(allowed), (long)&allowed);
	engine.cpu = last_seen = -1;
}

static void pin(int tid, const cpu_set_t *set)
{
	sys_sched_setaffinity(tid, sizeof(*set), set);
}

void cpu_follow(int tid)
{
	struct engine *e = &engine;
	int cpu = cpu_of(tid);
	cpu_set_t here, elsewhere = allowed;

	/* Twice in a row: several threads on several CPUs must not drag the handler to and fro. */
	bool again = cpu == last_seen;

	last_seen = cpu;
	if (cpu < 0 || cpu == e->cpu || !again || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
		return;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	pin(atomic_load(&e->handler.tid), &here);
	e->cpu = cpu;
	/* The pager takes the other CPUs, if there are any: it must not compete with the thread it serves. */
	CPU_CLR(cpu, &elsewhere);
	if (CPU_COUNT(&elsewhere) > 0)
		pin(atomic_load(&e->pager.tid), &elsewhere);
}

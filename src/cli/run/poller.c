#include "cli/run/poller.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "cli/cgroup.h"
#include "live/clock.h"

static struct {
	pthread_t thread;
	bool started;
} pollers[HALTPOLL_CPUS];

static uint64_t tried; /* CPUs; a thread that could not be started is not tried again */
static struct haltpoll *shared;

static void *run(void *arg)
{
	unsigned cpu = (unsigned)(uintptr_t)arg;
	struct sched_param none = { 0 };
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	/* At another policy, or elsewhere, it would be in somebody's way. */
	if (sched_setscheduler(0, SCHED_IDLE, &none) == 0 && sched_setaffinity(0, sizeof(here), &here) == 0)
		haltpoll_run(shared, cpu, now_ns);
	return NULL;
}

static bool start(unsigned cpu, pthread_t *thread)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN);
	int err = pthread_create(thread, &attr, run, (void *)(uintptr_t)cpu);

	pthread_attr_destroy(&attr);
	return err == 0;
}

const char *poller_why_not(void)
{
	struct rlimit limit;

	if (cgroup_cpu_quota(""))
		return "the control group has a CPU quota";
	if (getrlimit(RLIMIT_CPU, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY)
		return "CPU time has a limit, ulimit -t";
	return NULL;
}

void poller_start(struct ledger *l)
{
	shared = &l->haltpoll;
	atomic_store(&shared->enabled, 1);
}

void poller_tick(struct ledger *l)
{
	uint64_t wanted = atomic_load(&l->haltpoll.wanted) & ~tried;

	tried |= wanted;
	for (; wanted != 0; wanted &= wanted - 1) {
		unsigned cpu = (unsigned)__builtin_ctzll(wanted);

		pollers[cpu].started = start(cpu, &pollers[cpu].thread);
	}
}

void poller_stop(struct ledger *l)
{
	haltpoll_stop(&l->haltpoll);
	for (unsigned i = 0; i < HALTPOLL_CPUS; i++)
		if (pollers[i].started)
			pthread_join(pollers[i].thread, NULL);
}

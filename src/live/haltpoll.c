#include "live/haltpoll.h"

#include <linux/futex.h>

#include "base/sys.h"

#define SPAN_NS 300000  /* 0.3 ms: of one wait */
#define LIMIT_NS 150000 /* waits that usually take longer gain too little */
#define MEAN_SHIFT 3    /* of 8 waits or so */
#define PAUSES 16       /* between two looks at the clock */

static void wake(struct haltpoll_cpu *c)
{
	if (atomic_load(&c->awake) == 0 && atomic_exchange(&c->awake, 1) == 0)
		sys_futex((uint32_t *)&c->awake, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void haltpoll_begin(const struct haltpoll_user *u, struct haltpoll *h, int cpu, uint64_t now)
{
	if (cpu < 0 || cpu >= HALTPOLL_CPUS || u->usual_ns > LIMIT_NS || atomic_load_explicit(&h->enabled, memory_order_relaxed) == 0)
		return;
	uint64_t bit = (uint64_t)1 << cpu;

	if ((atomic_load_explicit(&h->wanted, memory_order_relaxed) & bit) == 0)
		atomic_fetch_or(&h->wanted, bit);
	/* Before the look whether it is awake: see doze. */
	atomic_store(&h->cpu[cpu].until, now + SPAN_NS);
	wake(&h->cpu[cpu]);
}

void haltpoll_end(struct haltpoll_user *u, uint64_t ns)
{
	u->usual_ns += (ns >> MEAN_SHIFT) - (u->usual_ns >> MEAN_SHIFT);
}

static void doze(struct haltpoll *h, struct haltpoll_cpu *c, uint64_t now)
{
	atomic_store(&c->awake, 0);
	if (atomic_load(&c->until) <= now && atomic_load(&h->stop) == 0)
		sys_futex((uint32_t *)&c->awake, FUTEX_WAIT, 0, NULL, NULL, 0);
	atomic_store(&c->awake, 1);
}

void haltpoll_run(struct haltpoll *h, unsigned cpu, uint64_t (*now_ns)(void))
{
	struct haltpoll_cpu *c = &h->cpu[cpu];

	while (atomic_load(&h->stop) == 0) {
		uint64_t now = now_ns();

		if (now >= atomic_load(&c->until))
			doze(h, c, now);
		for (int i = 0; i < PAUSES; i++)
			__builtin_ia32_pause();
	}
}

void haltpoll_stop(struct haltpoll *h)
{
	atomic_store(&h->stop, 1);
	for (unsigned i = 0; i < HALTPOLL_CPUS; i++)
		wake(&h->cpu[i]);
}

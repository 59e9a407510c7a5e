#include "malloc/lock.h"

#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"

#define SPINS 100
#define NAP_NS 50000

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool lock_timed(struct lock *l, uint64_t timeout_ns)
{
	for (int i = 0; i < SPINS; i++) {
		if (!lock_is_held(l) && lock_try(l))
			return true;
		cpu_relax();
	}

	uint64_t end = now_ns() + timeout_ns, now;
	bool taken;

	/* A sleeper takes the lock as 2: it cannot know whether it was the only one. */
	while (!(taken = atomic_exchange_explicit(&l->word, 2, memory_order_acquire) == 0) && (now = now_ns()) < end) {
		struct timespec left = { (time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u) };

		sys_futex((uint32_t *)&l->word, FUTEX_WAIT_PRIVATE, 2, &left, NULL, 0);
	}
	return taken;
}

void lock_nap(_Atomic uint32_t *word, uint32_t value)
{
	const struct timespec moment = { .tv_nsec = NAP_NS };

	sys_futex((uint32_t *)word, FUTEX_WAIT_PRIVATE, value, &moment, NULL, 0);
}

void lock_wake(struct lock *l)
{
	sys_futex((uint32_t *)&l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

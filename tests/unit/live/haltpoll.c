/*
 * live/haltpoll: who spins, for how long, and for whom it is not worth it. The clock is the test's. Built twice: as it is,
 * and with the thread sanitizer.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "live/haltpoll.h"

#define CPU 3
#define FAST_NS 40000    /* 40 µs: a disk that is worth it */
#define SLOW_NS 2000000  /* 2 ms: one that is not */
#define LONG_NS 10000000 /* 10 ms: longer than one wait is spun through */
#define MANY 64

static struct haltpoll h;
static struct haltpoll_user user;
static _Atomic uint64_t now;

static uint64_t test_now(void)
{
	return atomic_load(&now);
}

static void *spinner(void *arg)
{
	haltpoll_run(&h, *(unsigned *)arg, test_now);
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	memset(&user, 0, sizeof(user));
	atomic_store(&now, 1000000);
	atomic_store(&h.enabled, 1);
	return 0;
}

static bool wants(int cpu)
{
	uint64_t before = atomic_load(&h.cpu[CPU].until);

	atomic_fetch_add(&now, 1);
	haltpoll_begin(&user, &h, cpu, test_now());
	return atomic_load(&h.cpu[CPU].until) != before;
}

static void waits(unsigned n, uint64_t ns)
{
	for (unsigned i = 0; i < n; i++)
		haltpoll_end(&user, ns);
}

static void the_cpu_of_a_wait_is_wanted(void **state)
{
	(void)state;
	assert_true(wants(CPU));
	assert_int_equal(atomic_load(&h.wanted), 1 << CPU);
	assert_true(atomic_load(&h.cpu[CPU].until) > test_now());
	/* Longer than any wait that is worth it, and not for ever. */
	assert_in_range(atomic_load(&h.cpu[CPU].until) - test_now(), FAST_NS, LONG_NS);
}

static void other_cpus_sleep_as_ever(void **state)
{
	(void)state;
	assert_false(wants(-1));
	assert_false(wants(HALTPOLL_CPUS));
	assert_int_equal(atomic_load(&h.wanted), 0);
	haltpoll_begin(&user, &h, HALTPOLL_CPUS - 1, test_now());
	assert_int_equal(atomic_load(&h.wanted), (uint64_t)1 << (HALTPOLL_CPUS - 1));
}

static void nobody_spins_where_it_is_not_enabled(void **state)
{
	(void)state;
	atomic_store(&h.enabled, 0);
	assert_false(wants(CPU));
	assert_int_equal(atomic_load(&h.wanted), 0);
}

static void waits_that_take_long_are_slept_through(void **state)
{
	(void)state;
	waits(MANY, SLOW_NS);
	assert_false(wants(CPU));
	/* It is looked at as it goes: the disk is faster now. */
	waits(MANY, FAST_NS);
	assert_true(wants(CPU));
	/* One slow wait among fast ones, which other work on the disk may cause, changes nothing. */
	waits(1, SLOW_NS / 4);
	assert_true(wants(CPU));
}

/* Until the thread sleeps, or is awake; the test's time limit ends one that never does. */
static void await(uint32_t awake)
{
	while (atomic_load(&h.cpu[CPU].awake) != awake)
		sched_yield();
}

static void a_thread_spins_while_it_is_wanted(void **state)
{
	unsigned cpu = CPU;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, spinner, &cpu), 0);
	for (int round = 0; round < 1000; round++) {
		assert_true(wants(CPU));
		/* Woken if it slept, or on its way there; it does not go back before its time is over. */
		await(1);
		if (round % 100 == 0)
			for (int i = 0; i < 1000; i++) {
				sched_yield();
				assert_int_equal(atomic_load(&h.cpu[CPU].awake), 1);
			}
		atomic_fetch_add(&now, LONG_NS);
		/* Each time a wait comes while it is on its way to sleep. */
		if (round % 2 == 0)
			await(0);
	}
	await(0);
	haltpoll_stop(&h);
	pthread_join(thread, NULL);
}

static void it_ends_while_it_spins(void **state)
{
	unsigned cpu = CPU;
	pthread_t thread;

	(void)state;
	assert_true(wants(CPU));
	assert_int_equal(pthread_create(&thread, NULL, spinner, &cpu), 0);
	await(1);
	haltpoll_stop(&h);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_cpu_of_a_wait_is_wanted, setup),
		cmocka_unit_test_setup(other_cpus_sleep_as_ever, setup),
		cmocka_unit_test_setup(nobody_spins_where_it_is_not_enabled, setup),
		cmocka_unit_test_setup(waits_that_take_long_are_slept_through, setup),
		cmocka_unit_test_setup(a_thread_spins_while_it_is_wanted, setup),
		cmocka_unit_test_setup(it_ends_while_it_spins, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

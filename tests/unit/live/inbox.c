/* live/inbox.c: who changes the address space, and who moves pages in it, give way to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "live/engine.h"

#define CHANGERS 3
#define CHANGES 20000

static volatile unsigned changed; /* not atomic: the announcements are what keeps those who write it apart */
static unsigned torn;
static _Atomic bool over;

static void *change_often(void *unused)
{
	uint64_t signals;

	for (unsigned i = 0; i < CHANGES; i++) {
		change_announce(&signals);
		changed++;
		change_over(&signals);
	}
	return unused;
}

/* As the pager does that copies pages: nothing changes while it looks. */
static void *copy_often(void *unused)
{
	while (!atomic_load(&over)) {
		changes_hold(HOLD_DROP);
		while (!changes_rest())
			;
		unsigned before = changed;

		sched_yield();
		torn += changed != before;
		changes_let_go(HOLD_DROP);
		sched_yield();
	}
	return unused;
}

/* As the handler does: who holds changes off for himself only does not let them go that another holds off. */
static void *hold_often(void *unused)
{
	for (unsigned i = 0; !atomic_load(&over); i++) {
		changes_hold(i & 1 ? HOLD_ROOM : HOLD_HANDLER);
		sched_yield();
		changes_let_go(i & 1 ? HOLD_ROOM : HOLD_HANDLER);
		sched_yield();
	}
	return unused;
}

static void changes_and_copies_exclude_each_other(void **state)
{
	pthread_t changer[CHANGERS], copier, holder;

	(void)state;
	assert_int_equal(pthread_create(&copier, NULL, copy_often, NULL), 0);
	assert_int_equal(pthread_create(&holder, NULL, hold_often, NULL), 0);
	for (unsigned i = 0; i < CHANGERS; i++)
		assert_int_equal(pthread_create(&changer[i], NULL, change_often, NULL), 0);
	for (unsigned i = 0; i < CHANGERS; i++)
		pthread_join(changer[i], NULL);
	atomic_store(&over, true);
	pthread_join(copier, NULL);
	pthread_join(holder, NULL);
	assert_int_equal(changed, CHANGERS * CHANGES);
	assert_int_equal(torn, 0);
	assert_int_equal(atomic_load(&engine.holds), 0);
	assert_true(changes_rest());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_and_copies_exclude_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

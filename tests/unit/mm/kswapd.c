/* kswapd: when it is woken, when it stops, and what it leaves behind when it gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

static void kswapd_stops_at_high(void **state)
{
	(void)state;
	sim_make(3, 600, true, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < SIM_PAGES; i++) {
		bool below = phys_free_frames(phys(), 0) < phys_wmark(phys(), 0, WMARK_HIGH);

		touch(i);
		if (!below)
			continue;
		assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
		uint32_t free_frames = phys_free_frames(phys(), 0), high = phys_wmark(phys(), 0, WMARK_HIGH);

		/* Not more than one batch, or one step of compaction, beyond it. */
		assert_true(free_frames >= high && free_frames <= high + 40);
		mm_check(&sim->mm);
	}
	/* Above HIGH it does nothing. */
	uint64_t scanned = sim->counter[VM_pgscan_kswapd];

	assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
	assert_int_equal(sim->counter[VM_pgscan_kswapd], scanned);
	check_all();
	sim_drop();
}

static void kswapd_is_woken_when_an_allocation_meets_low(void **state)
{
	unsigned i = 0;

	(void)state;
	sim_make(4, 600, true, 0);
	map_pages(0, SIM_PAGES);
	for (; !sim->kswapd_woken; i++)
		touch(i);
	assert_true(phys_free_frames(phys(), 0) <= phys_wmark(phys(), 0, WMARK_LOW));
	assert_true(phys_free_frames(phys(), 0) >= phys_wmark(phys(), 0, WMARK_MIN));
	sim_drop();
}

static bool stop_at_once(void *ctx)
{
	++*(unsigned *)ctx;
	return true;
}

static void kswapd_stops_when_asked(void **state)
{
	unsigned asked = 0;

	(void)state;
	sim_make(5, 600, true, 0);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; !sim->kswapd_woken; i++)
		touch(i);
	assert_int_equal(kswapd_balance(&sim->m, 0, stop_at_once, &asked), 0);
	assert_int_equal(asked, 1);
	assert_int_equal(sim->counter[VM_pgscan_kswapd], 0);
	sim_drop();
}

static void without_a_store_kswapd_gives_up_and_nothing_is_lost(void **state)
{
	(void)state;
	sim_make(6, 600, false, 0);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; fault(i) != FAULT_NOMEM; i++)
		sim_write(i);
	assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), -ENOMEM);
	check_all();
	/* What the program drops is found at once. */
	for (unsigned i = 0; i < 100; i++) {
		sim->page[i].there = false;
		memset(sim->want[i], 0, PAGE_SIZE);
	}
	mm_drop(&sim->mm, sim_vpn(0), sim_vpn(100));
	assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
	check_all();
	sim_drop();
}

static void a_full_store_makes_kswapd_give_up_and_nothing_is_lost(void **state)
{
	enum fault_result r = FAULT_DONE;
	int err = 0;

	(void)state;
	sim_make(7, 600, true, 50);
	sim->zpool.store.max_frames = 10;
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < SIM_PAGES && err == 0; i += sim->page[i].there) {
		if (!sim->page[i].there)
			r = fault(i);
		if (r == FAULT_DONE)
			sim_write(i);
		else if (r == FAULT_NOMEM)
			err = kswapd_balance(&sim->m, 0, NULL, NULL);
		mm_check(&sim->mm);
	}
	assert_int_equal(err, -ENOMEM);
	check_all();
	sim_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kswapd_stops_at_high),
		cmocka_unit_test(kswapd_is_woken_when_an_allocation_meets_low),
		cmocka_unit_test(kswapd_stops_when_asked),
		cmocka_unit_test(without_a_store_kswapd_gives_up_and_nothing_is_lost),
		cmocka_unit_test(a_full_store_makes_kswapd_give_up_and_nothing_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

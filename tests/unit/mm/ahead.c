/* Eviction with a helper on another CPU (struct swap_ahead): kswapd goes on while it works, and nothing is left with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

static void fill(unsigned pages)
{
	map_pages(0, pages);
	for (unsigned i = 0; i < pages; i++)
		touch(i);
}

static void make(uint64_t seed, unsigned disk_cells)
{
	sim_make(seed, 600, true, disk_cells);
	sim_add_helper();
}

/* Pages that are neither resident nor out: with the helper. */
static unsigned on_their_way(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SIM_PAGES; i++)
		n += (pte_is_soft(sim_pte(i)) || pte_is_present(sim_pte(i))) && (frame_at(i)->flags & FRAME_LOCKED);
	return n;
}

static void pages_are_left_with_the_helper_and_written_later(void **state)
{
	(void)state;
	make(1, FAKE_CELLS);
	fill(200);
	/* One sample of 32, of which a batch begins at every step. */
	for (unsigned i = 1; i <= SWAP_AHEAD_BATCHES; i++) {
		assert_int_equal(reclaim(), 0);
		assert_int_equal(on_their_way(), i * SWAP_AHEAD);
		assert_int_equal(sim->counter[VM_pswpout], 0);
	}
	assert_int_equal(reclaim(), SWAP_AHEAD);
	assert_int_equal(on_their_way(), SWAP_AHEAD_BATCHES * SWAP_AHEAD);
	assert_int_equal(sim->counter[VM_pswpout], SWAP_AHEAD);
	reclaim_finish(&sim->m);
	assert_int_equal(on_their_way(), 0);
	assert_int_equal(sim->counter[VM_pswpout], (SWAP_AHEAD_BATCHES + 1) * SWAP_AHEAD);
	assert_int_equal(sim->helper.done, (SWAP_AHEAD_BATCHES + 1) * SWAP_AHEAD);
	check_all();
	/* Nothing more to do. */
	reclaim_finish(&sim->m);
	assert_int_equal(sim->counter[VM_pgsteal_kswapd], sim->counter[VM_pswpout]);
	sim_drop();
}

static void kswapd_leaves_nothing_behind(void **state)
{
	(void)state;
	make(2, FAKE_CELLS);
	fill(SIM_PAGES);
	for (unsigned i = 0; i < 50; i++) {
		for (unsigned j = 0; j < 40; j++)
			touch((unsigned)sim_below(SIM_PAGES));
		assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
		assert_int_equal(on_their_way(), 0);
		assert_true(phys_free_frames(phys(), 0) >= phys_wmark(phys(), 0, WMARK_HIGH));
	}
	assert_true(sim->helper.done > 500);
	check_all();
	sim_drop();
}

static bool stop_soon(void *ctx)
{
	return ++*(unsigned *)ctx > SWAP_AHEAD_BATCHES;
}

static void kswapd_that_is_stopped_finishes_what_it_began(void **state)
{
	unsigned asked = 0;

	(void)state;
	make(3, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; !sim->kswapd_woken; i++)
		touch(i);
	assert_int_equal(kswapd_balance(&sim->m, 0, stop_soon, &asked), 0);
	assert_int_equal(on_their_way(), 0);
	assert_int_equal(sim->counter[VM_pswpout], SWAP_AHEAD_BATCHES * SWAP_AHEAD);
	sim_drop();
}

static void direct_reclaim_takes_over(void **state)
{
	bool progress = false;

	(void)state;
	make(4, FAKE_CELLS);
	fill(200);
	reclaim();
	assert_int_equal(on_their_way(), SWAP_AHEAD);
	/* It needs frames now: its own batch, and the one that was under way. */
	assert_int_equal(reclaim_batch(&sim->m, false, &progress), 2 * SWAP_AHEAD);
	assert_true(progress);
	assert_int_equal(on_their_way(), 0);
	check_all();
	sim_drop();
}

static void the_last_pages_do_not_wait_for_others(void **state)
{
	bool progress = false;

	(void)state;
	make(5, FAKE_CELLS);
	fill(SWAP_AHEAD);
	/* All are sampled and begun in one step; the next finds no more. */
	reclaim();
	assert_int_equal(on_their_way(), SWAP_AHEAD);
	assert_int_equal(reclaim_batch(&sim->m, true, &progress), SWAP_AHEAD);
	assert_true(progress);
	assert_int_equal(sim->mm.rss, 0);
	sim_drop();
}

static void a_page_waited_for_while_the_helper_has_it_stays(void **state)
{
	(void)state;
	make(6, FAKE_CELLS);
	fill(200);
	reclaim();
	unsigned page = 0;

	while (!(frame_at(page)->flags & FRAME_LOCKED))
		page++;
	assert_int_equal(fault(page), FAULT_WAIT);
	sim->woken = sim_count_wake;
	sim->woken_times = 0;
	reclaim_finish(&sim->m);
	assert_int_equal(sim->woken_times, 1);
	assert_int_equal(sim->woken_page, page);
	assert_true(pte_is_soft(sim_pte(page)));
	assert_int_equal(fault(page), FAULT_DONE);
	sim_read(page);
	assert_int_equal(sim->counter[VM_pswpout], SWAP_AHEAD - 1);
	check_all();
	sim_drop();
}

static void where_nothing_can_be_written_kswapd_gives_up_and_nothing_is_lost(void **state)
{
	(void)state;
	for (unsigned cells = 0; cells <= 50; cells += 50) {
		enum fault_result r = FAULT_DONE;
		int err = 0;

		make(7, cells);
		sim->zpool.store.max_frames = 10;
		map_pages(0, SIM_PAGES);
		for (unsigned i = 0; i < SIM_PAGES && err == 0; i += sim->page[i].there) {
			if (!sim->page[i].there)
				r = fault(i);
			if (r == FAULT_DONE)
				sim_write(i);
			else if (r == FAULT_NOMEM)
				err = kswapd_balance(&sim->m, 0, NULL, NULL);
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(on_their_way(), 0);
		check_all();
		sim_drop();
	}
}

static void what_the_helper_has_not_done_is_done_without(void **state)
{
	(void)state;
	for (unsigned fails = 1; fails < 4; fails++) {
		make(8 + fails, FAKE_CELLS);
		sim->helper.fails = fails;
		fill(200);
		all_swapped(0, 200);
		reclaim_finish(&sim->m);
		assert_true(fails > 1 ? sim->helper.done > 20 : sim->helper.done == 0);
		assert_true(sim->counter[VM_pgsame] > 0);
		check_all();
		for (unsigned i = 0; i < 200; i++) {
			if (!sim->page[i].there)
				assert_int_equal(fault(i), FAULT_DONE);
			sim_read(i);
		}
		sim_drop();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_left_with_the_helper_and_written_later),
		cmocka_unit_test(kswapd_leaves_nothing_behind),
		cmocka_unit_test(kswapd_that_is_stopped_finishes_what_it_began),
		cmocka_unit_test(direct_reclaim_takes_over),
		cmocka_unit_test(the_last_pages_do_not_wait_for_others),
		cmocka_unit_test(a_page_waited_for_while_the_helper_has_it_stays),
		cmocka_unit_test(where_nothing_can_be_written_kswapd_gives_up_and_nothing_is_lost),
		cmocka_unit_test(what_the_helper_has_not_done_is_done_without),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The memory manager's promises one by one, over the simulated host; random use is model.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

static void a_touch_outside_every_area_is_invalid(void **state)
{
	(void)state;
	sim_make(1, 600, true, 0);
	map_pages(10, 10);
	assert_int_equal(fault(9), FAULT_INVALID);
	assert_int_equal(fault(20), FAULT_INVALID);
	assert_int_equal(fault(10), FAULT_DONE);
	sim_drop();
}

static void a_page_goes_all_the_way_out_and_comes_back(void **state)
{
	(void)state;
	sim_make(2, 600, true, 100);
	map_pages(0, 40);
	for (unsigned i = 0; i < 40; i++)
		touch(i);
	assert_int_equal(sim->mm.rss, 40);
	reclaim();
	check_all();
	unsigned soft = first_soft();

	assert_int_equal(fault(soft), FAULT_DONE);
	sim_read(soft);
	assert_int_equal(sim->counter[VM_pgsoft], 1);
	assert_int_equal(lru_list_of(frame_at(soft)), LRU_ACTIVE_ANON);
	all_swapped(0, 40);
	check_all();
	assert_int_equal(sim->mm.rss, 0);
	assert_int_equal(sim->mm.swapents, 40);
	for (unsigned i = 0; i < 40; i++) {
		if (!sim->page[i].there)
			assert_int_equal(fault(i), FAULT_DONE);
		sim_read(i);
	}
	check_all();
	sim_drop();
}

static void dead_pages_are_dropped_without_a_store(void **state)
{
	(void)state;
	sim_make(8, 600, false, 0);
	map_pages(0, 64);
	for (unsigned i = 0; i < 64; i++) {
		touch(i);
		sim->page[i].dead = sim->page[i].undefined = i % 2;
	}
	for (unsigned i = 0; i < 64; i++)
		reclaim();
	assert_int_equal(sim->mm.rss, 32);
	assert_int_equal(sim->counter[VM_pgdiscard], 32);
	for (unsigned i = 1; i < 64; i += 2) {
		sim->page[i].dead = false;
		touch(i);
	}
	check_all();
	sim_drop();
}

static void a_pinned_page_stays_and_the_others_of_its_run_go(void **state)
{
	(void)state;
	sim_make(9, 600, true, 0);
	map_pages(0, 64);
	for (unsigned i = 0; i < 64; i++)
		touch(i);
	for (unsigned i = 3; i < 64; i += 7)
		sim->page[i].pinned = true;
	for (unsigned i = 0; i < 64; i++) {
		reclaim();
		check_all();
	}
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(pte_is_present(sim_pte(i)), sim->page[i].pinned);
	sim_drop();
}

/* The page that the hook below faults on while reclaim has given the lock up. */
static unsigned contended, waits;

static void fault_on_contended(void)
{
	if (sim->locked || sim->page[contended].there)
		return;
	sim->locked = true;
	if (pte_is_soft(sim_pte(contended)) && (frame_at(contended)->flags & FRAME_LOCKED)) {
		assert_int_equal(fault(contended), FAULT_WAIT);
		waits++;
	}
	sim->locked = false;
}

static void a_page_waited_for_while_it_is_evicted_stays_and_its_waiter_is_woken(void **state)
{
	(void)state;
	for (unsigned pool = 0; pool < 2; pool++) {
		sim_make(10, 600, pool, 200);
		map_pages(0, 64);
		for (unsigned i = 0; i < 64; i++)
			touch(i);
		contended = 5;
		waits = sim->woken_times = 0;
		sim->woken = sim_count_wake;
		sim->unlocked = fault_on_contended;
		for (unsigned i = 0; i < 64 && waits == 0; i++)
			reclaim();
		sim->unlocked = NULL;
		assert_true(waits > 0);
		assert_int_equal(sim->woken_times, 1);
		assert_int_equal(sim->woken_page, contended);
		assert_true(pte_is_soft(sim_pte(contended)));
		assert_int_equal(frame_at(contended)->flags & (FRAME_LOCKED | FRAME_WAITED), 0);
		check_all();
		assert_int_equal(fault(contended), FAULT_DONE);
		sim_read(contended);
		assert_int_equal(swap_used(&sim->m.swap), sim->mm.swapents);
		sim_drop();
	}
}

static void fault_on_present(void)
{
	if (sim->locked)
		return;
	sim->locked = true;
	if (pte_is_present(sim_pte(contended)) && (frame_at(contended)->flags & FRAME_LOCKED)) {
		assert_int_equal(fault(contended), FAULT_WAIT);
		waits++;
	}
	sim->locked = false;
}

static void a_page_waited_for_while_it_is_unmapped_wakes_its_waiter(void **state)
{
	(void)state;
	sim_make(11, 600, true, 0);
	map_pages(0, 64);
	for (unsigned i = 0; i < 64; i++)
		touch(i);
	contended = 9;
	waits = sim->woken_times = 0;
	sim->woken = sim_count_wake;
	sim->unlocked = fault_on_present;
	while (waits == 0)
		reclaim();
	sim->unlocked = NULL;
	assert_int_equal(sim->woken_times, 1);
	assert_int_equal(sim->woken_page, contended);
	check_all();
	sim_drop();
}

static void other_bytes_from_the_store_lose_the_page_and_no_other(void **state)
{
	struct fault_report report = { 0 };

	(void)state;
	sim_make(12, 600, false, 100);
	map_pages(0, 40);
	for (unsigned i = 0; i < 40; i++) {
		touch(i);
		sim->want[i][9] = sim->bytes[i][9] = (uint8_t)(i + 1);
	}
	all_swapped(0, 40);
	struct swap_slot *slot = swap_slot_of(&sim->m.swap, pte_swp(sim_pte(7)));
	struct fake_cell *cell = fake_cell(sim->disk, slot->handle);

	cell->page[4000] ^= 1;
	assert_int_equal(mm_fault(&sim->mm, sim_vpn(7), FAULT_ANY, &report), FAULT_LOST);
	assert_int_equal(report.err, -EBADMSG);
	assert_true(report.major);
	assert_int_equal(report.area, 0);
	assert_int_equal(report.slot, swp_slot(pte_swp(sim_pte(7))));
	assert_int_equal(mm_peek(&sim->mm, sim_vpn(7), sim->bytes[7]), -EBADMSG);
	assert_false(sim->page[7].there);
	/* Read ahead along with others it spoils none of them. */
	for (unsigned i = 0; i < 40; i++) {
		if (i == 7)
			continue;
		if (!sim->page[i].there)
			assert_int_equal(fault(i), FAULT_DONE);
		sim_read(i);
	}
	cell->page[4000] ^= 1;
	assert_int_equal(fault(7), FAULT_DONE);
	sim_read(7);
	sim->disk->read_fails = 1;
	all_swapped(0, 1);
	assert_int_equal(mm_fault(&sim->mm, sim_vpn(0), FAULT_ANY, &report), FAULT_LOST);
	assert_int_equal(report.err, -EIO);
	sim->disk->read_fails = 0;
	check_all();
	sim_drop();
}

static void a_fault_that_the_host_refuses_leaves_nothing_behind(void **state)
{
	(void)state;
	sim_make(13, 600, true, 0);
	map_pages(0, SIM_PAGES);
	uint32_t free_frames = phys_free_frames(phys(), 0);

	/* Pages 299 and 300 are in different leaves. */
	for (unsigned i = 280; i < 320; i++) {
		sim->changing = 1;
		assert_int_equal(fault(i), FAULT_RETRY);
		sim->changing = 0;
		sim->map_nomem = 1;
		assert_int_equal(fault(i), FAULT_NOMEM);
		sim->map_nomem = 0;
		sim->page[i].mapped = false;
		assert_int_equal(fault(i), FAULT_RETRY);
		sim->page[i].mapped = true;
		assert_int_equal(sim->mm.pt.nr_nodes, 0);
		assert_int_equal(phys_free_frames(phys(), 0), free_frames);
		mm_check(&sim->mm);
	}
	/* A sequential toucher gets runs; short runs across the border leave no empty leaf either. */
	for (unsigned i = 270; i < 300; i++) {
		sim->map_short = i > 280 ? 1 : 0;
		touch(i);
	}
	assert_int_equal(sim->mm.pt.nr_nodes, 4);
	check_all();
	sim_drop();
}

/* Pages that the manager does not know of, in the way of what it wants to map. */
static void a_page_in_the_way_is_counted_and_keeps_its_content(void **state)
{
	uint8_t page[PAGE_SIZE];

	(void)state;
	sim_make(14, 600, true, 0);
	map_pages(0, 40);
	/* none */
	memset(page, 1, PAGE_SIZE);
	memset(sim->want[3], 1, PAGE_SIZE);
	sim_place(3, page);
	assert_int_equal(fault(3), FAULT_DONE);
	sim_read(3);
	/* soft, swap: what is at the address is right, whatever was stored */
	for (unsigned i = 4; i < 40; i++)
		touch(i);
	reclaim();
	const unsigned soft = first_soft();

	for (unsigned n = 0; n < 2; n++) {
		unsigned i = soft;

		for (; n == 1 && !pte_is_swap(sim_pte(i)); i = 4 + (i - 3) % 36)
			reclaim();
		sim_place(i, sim->want[i]);
		assert_int_equal(fault(i), FAULT_DONE);
		assert_true(pte_is_present(sim_pte(i)));
		sim_read(i);
	}
	check_all();
	sim_drop();
}

static void a_page_that_the_host_dropped_reads_as_zeros(void **state)
{
	(void)state;
	sim_make(15, 600, true, 0);
	map_pages(0, 4);
	touch(2);
	sim->page[2].there = false;
	memset(sim->want[2], 0, PAGE_SIZE);
	check_all();
	assert_int_equal(fault(2), FAULT_DONE);
	sim_read(2);
	assert_int_equal(sim->counter[VM_pgspurious], 1);
	assert_int_equal(fault(2), FAULT_DONE);
	check_all();
	sim_drop();
}

static void moving_a_sparse_area_costs_tables_for_its_pages_only(void **state)
{
	const uint64_t n = (uint64_t)1 << 24;
	const vpn_t from = { (uint64_t)1 << 30 }, to = { (uint64_t)1 << 31 };

	(void)state;
	sim_make(16, 600, true, 0);
	assert_int_equal(mm_map(&sim->mm, from, (vpn_t){ from.n + n }, VMA_READ, NULL, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(mm_adopt(&sim->mm, (vpn_t){ from.n + i * n / 3 }), 0);
	uint32_t nodes = sim->mm.pt.nr_nodes;

	assert_int_equal(mm_move(&sim->mm, from, to, n), 0);
	assert_int_equal(sim->mm.pt.nr_nodes, nodes);
	for (unsigned i = 0; i < 3; i++)
		assert_true(pte_is_present(pt_get(&sim->mm.pt, (vpn_t){ to.n + i * n / 3 })));
	mm_check(&sim->mm);
	sim_drop();
}

/* Every allocation of one operation fails in turn; each failure must leave the manager as it was. */
struct trial {
	void (*prepare)(void);
	int (*run)(void); /* 0, or the error that a failed allocation may cause */
};

static void prepare_none(void)
{
	map_pages(0, 600);
}

static void prepare_present(void)
{
	prepare_none();
	for (unsigned i = 290; i < 310; i++)
		touch(i);
}

static void prepare_soft(void)
{
	prepare_present();
	for (unsigned i = 0; i < 20 && !pte_is_soft(sim_pte(299)); i++)
		reclaim();
}

static void prepare_swap(void)
{
	prepare_present();
	all_swapped(290, 310);
}

static int fault_299(void)
{
	enum fault_result r = fault(299);

	assert_true(r == FAULT_DONE || r == FAULT_NOMEM);
	return r == FAULT_DONE ? 0 : -ENOMEM;
}

static int peek_299(void)
{
	static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));

	assert_int_equal(mm_peek(&sim->mm, sim_vpn(299), page), 1);
	return 0;
}

static int run_map(void)
{
	int err = mm_map(&sim->mm, sim_vpn(900), sim_vpn(910), VMA_READ, NULL, 0);

	for (unsigned i = 900; i < 910; i++)
		sim->page[i].mapped = err == 0;
	return err;
}

static int run_unmap(void)
{
	int err = mm_unmap(&sim->mm, sim_vpn(295), sim_vpn(305));

	for (unsigned i = 295; i < 305 && err == 0; i++) {
		memset(sim->want[i], 0, PAGE_SIZE);
		sim->page[i].mapped = sim->page[i].there = false;
	}
	return err;
}

static int run_move(void)
{
	int err = mm_move(&sim->mm, sim_vpn(295), sim_vpn(1400), 10);

	for (unsigned i = 295; i < 305 && err == 0; i++) {
		sim->page[i + 1105] = sim->page[i];
		memcpy(sim->want[i + 1105], sim->want[i], PAGE_SIZE);
		memcpy(sim->bytes[i + 1105], sim->bytes[i], PAGE_SIZE);
		memset(sim->want[i], 0, PAGE_SIZE);
		sim->page[i].mapped = sim->page[i].there = false;
	}
	return err;
}

static int run_adopt(void)
{
	int err = mm_adopt(&sim->mm, sim_vpn(299));

	if (err == 0)
		sim_place(299, sim->want[299]);
	return err;
}

static int run_reclaim(void)
{
	/* Slot tables, pool frames: what fails leaves pages where they are. */
	for (unsigned i = 0; i < 6; i++)
		reclaim();
	return 0;
}

static void every_allocation_fails_in_turn(void **state)
{
	static const struct trial trials[] = {
		{ prepare_none, fault_299 },
		{ prepare_soft, fault_299 },
		{ prepare_swap, fault_299 },
		{ prepare_swap, peek_299 },
		{ prepare_present, run_map },
		{ prepare_present, run_unmap },
		{ prepare_swap, run_unmap },
		{ prepare_present, run_move },
		{ prepare_swap, run_move },
		{ prepare_none, run_adopt },
		{ prepare_present, run_reclaim },
	};

	(void)state;
	for (unsigned t = 0; t < 2 * ARRAY_SIZE(trials); t++) {
		const struct trial *trial = &trials[t / 2];
		bool failed = true;

		/* Until there are fewer allocations than nth. */
		for (uint64_t nth = 1; failed; nth++) {
			sim_make(17, 600, true, 100);
			trial->prepare();
			uint32_t free_frames = phys_free_frames(phys(), 0);
			uint64_t entries = sim->mm.pt.nr_entries, areas = sim->mm.vmas.count;

			phys()->fail_nth = nth;
			phys()->fail_forever = t % 2;
			int err = trial->run();

			failed = phys()->fail_nth <= t % 2;
			phys()->fail_nth = 0;
			phys()->fail_forever = false;
			assert_true(err == 0 || (failed && err == -ENOMEM));
			if (err != 0) {
				assert_int_equal(sim->mm.pt.nr_entries, entries);
				assert_int_equal(sim->mm.vmas.count, areas);
				/* Caches may keep a slab. */
				assert_true(phys_free_frames(phys(), 0) + 4 >= free_frames);
			}
			check_all();
			sim_drop();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_touch_outside_every_area_is_invalid),
		cmocka_unit_test(a_page_goes_all_the_way_out_and_comes_back),
		cmocka_unit_test(dead_pages_are_dropped_without_a_store),
		cmocka_unit_test(a_pinned_page_stays_and_the_others_of_its_run_go),
		cmocka_unit_test(a_page_waited_for_while_it_is_evicted_stays_and_its_waiter_is_woken),
		cmocka_unit_test(a_page_waited_for_while_it_is_unmapped_wakes_its_waiter),
		cmocka_unit_test(other_bytes_from_the_store_lose_the_page_and_no_other),
		cmocka_unit_test(a_fault_that_the_host_refuses_leaves_nothing_behind),
		cmocka_unit_test(a_page_in_the_way_is_counted_and_keeps_its_content),
		cmocka_unit_test(a_page_that_the_host_dropped_reads_as_zeros),
		cmocka_unit_test(moving_a_sparse_area_costs_tables_for_its_pages_only),
		cmocka_unit_test(every_allocation_fails_in_turn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

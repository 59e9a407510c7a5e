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

/*
 * Refault distance: pages are evicted and come back after a known number of
 * evictions and activations. Up to the coarseness of the shadow the decision
 * must be the one of the definition: distance ≤ active list.
 */
static void refaults_are_judged_by_their_distance(void **state)
{
	static struct machine m = { .policy = &policy_second_chance };
	struct lruvec lru = { 0 };
	struct rand r;
	unsigned hot = 0, cold = 0;

	(void)state;
	rand_seed(&r, 18);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t resident = 64 + rand_below(&r, 100000);
		uint64_t bucket = 16;

		while (bucket * 64 < resident)
			bucket *= 2;
		lru.nr[LRU_ACTIVE_ANON] = rand_below(&r, resident);
		lru.nr[LRU_INACTIVE_ANON] = (resident - lru.nr[LRU_ACTIVE_ANON]) / 2;
		lru.nr[LRU_SAMPLE] = resident - lru.nr[LRU_ACTIVE_ANON] - lru.nr[LRU_INACTIVE_ANON];
		lru.age = rand_u64(&r) >> (8 + rand_below(&r, 40));

		uint8_t shadow = workingset_shadow(&lru);
		uint64_t evicted = lru.age, distance = rand_below(&r, 2 * resident);

		lru.age += distance;
		uint64_t before = lru.age;
		bool active = workingset_hot(&m, &lru, workingset_distance(&lru, shadow), false);

		assert_int_equal(lru.age, before + active);
		assert_true(evicted + distance == before);
		/* 255 buckets are at least twice what is resident: nothing wraps here. */
		if (distance + bucket <= lru.nr[LRU_ACTIVE_ANON])
			assert_true(active);
		if (distance > lru.nr[LRU_ACTIVE_ANON] + bucket)
			assert_false(active);
		hot += active;
		cold += !active;
	}
	assert_true(hot > 1000 && cold > 1000);
}

/* A page that comes back soon goes on ACTIVE at once; one that was away for long starts anew. */
static void refaults_go_to_the_list_that_their_distance_earns(void **state)
{
	unsigned late = 300, soon;

	(void)state;
	sim_make(19, 700, true, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < 500; i++)
		touch(i);
	for (unsigned i = 0; i < 60; i++) {
		reclaim();
		for (unsigned hot = 0; hot < 300; hot++)
			touch(hot);
	}
	assert_true(sim->m.lruvec[0].nr[LRU_ACTIVE_ANON] > 250);
	/* Of the others the first to go went some 2000 evictions and activations ago. */
	while (!pte_is_swap(sim_pte(late)))
		late++;
	assert_int_equal(fault(late), FAULT_DONE);
	assert_int_equal(lru_list_of(frame_at(late)), LRU_INACTIVE_ANON);

	reclaim();
	soon = first_soft();
	while (!pte_is_swap(sim_pte(soon)))
		reclaim();
	assert_int_equal(fault(soon), FAULT_DONE);
	assert_int_equal(lru_list_of(frame_at(soon)), LRU_ACTIVE_ANON);
	check_all();
	sim_drop();
}

/* Pages used once, in any number, do not push out pages that are used again and again. */
static void a_stream_of_pages_used_once_passes_by_the_hot_ones(void **state)
{
	(void)state;
	sim_make(20, 600, true, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	for (unsigned lap = 0; lap < 40; lap++)
		for (unsigned i = 0; i < 200; i++) {
			touch(i);
			if (i % 8 == 0)
				reclaim();
		}
	uint64_t out = sim->counter[VM_pgmajfault];

	for (unsigned i = 200; i < SIM_PAGES; i++) {
		touch(i);
		touch(i % 200);
	}
	/* Hot pages that had to be read back: few of 1336 accesses. */
	assert_true(sim->counter[VM_pgmajfault] - out < 100);
	check_all();
	sim_drop();
}

/* Writes the pages [start, end), so that several go into a frame of the pool, and gets them out of memory. */
static void out_small(unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++) {
		uint64_t *words = (uint64_t *)sim->bytes[i];

		touch(i);
		for (unsigned k = 0; k < PAGE_SIZE / sizeof(*words); k++)
			words[k] = k < 100 ? rand_u64(&sim->rand) : i;
		memcpy(sim->want[i], words, PAGE_SIZE);
	}
	all_swapped(start, end);
}

static unsigned area_of(unsigned page)
{
	assert_true(pte_is_swap(sim_pte(page)));
	return swp_area(pte_swp(sim_pte(page)));
}

static void read_all(unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++) {
		while (!sim->page[i].there) {
			enum fault_result r = fault(i);

			assert_true(r == FAULT_DONE || r == FAULT_NOMEM);
			if (r == FAULT_NOMEM)
				assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
		}
		sim_read(i);
	}
}

static void a_full_pool_passes_on_what_was_evicted_first(void **state)
{
	const unsigned group = 40, groups = 12;

	(void)state;
	sim_make(21, 600, true, FAKE_CELLS);
	sim->zpool.store.max_frames = 48;
	map_pages(0, SIM_PAGES);
	for (unsigned g = 0; g < groups; g++) {
		out_small(g * group, (g + 1) * group);
		assert_true(sim->zpool.store.stat.frames <= 48);
		check_all();
	}
	for (unsigned i = 0; i < 2 * group; i++) {
		assert_int_equal(area_of(i), 1);
		assert_int_equal(area_of((groups - 2) * group + i), 0);
	}
	/* The pool is not emptied further than it must be. */
	assert_true(sim->zpool.store.stat.pages > 2 * group);
	assert_int_equal(sim->zpool.store.stat.pages + sim->disk->store.stat.pages, groups * group);
	assert_true(sim->counter[VM_pgdemote] >= 2 * group);
	read_all(0, groups * group);
	check_all();
	sim_drop();
}

static void a_page_that_a_fault_is_reading_is_not_passed_on(void **state)
{
	(void)state;
	sim_make(22, 600, true, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	out_small(0, 60);
	swp_t entry = pte_swp(sim_pte(0));

	swap_slot_of(&sim->m.swap, entry)->flags |= SLOT_READING;
	while (demote_batch(&sim->m) > 0)
		;
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(area_of(i), i == 0 ? 0 : 1);
	assert_int_equal(pte_swp(sim_pte(0)).v, entry.v);
	swap_slot_of(&sim->m.swap, entry)->flags &= (uint8_t)~SLOT_READING;
	assert_int_equal(demote_batch(&sim->m), 1);
	assert_int_equal(area_of(0), 1);
	read_all(0, 60);
	check_all();
	sim_drop();
}

/* While pages are being written to the disk: a fault has begun to read page 3, and another one has served page 5. */
static void faults_come_in_between(void)
{
	sim->unlocked = NULL;
	sim->locked = true;
	swap_slot_of(&sim->m.swap, pte_swp(sim_pte(3)))->flags |= SLOT_READING;
	assert_int_equal(fault(5), FAULT_DONE);
	sim->locked = false;
}

static void a_page_that_is_wanted_while_it_is_passed_on_stays(void **state)
{
	(void)state;
	for (unsigned wanted = 0; wanted < 2; wanted++) {
		unsigned gone = 0;

		sim_make(23, 600, true, FAKE_CELLS);
		map_pages(0, SIM_PAGES);
		out_small(0, DEMOTE_BATCH);
		swp_t entry = pte_swp(sim_pte(3));

		sim->unlocked = wanted ? faults_come_in_between : NULL;
		unsigned done = demote_batch(&sim->m);

		for (unsigned i = 0; i < DEMOTE_BATCH; i++)
			gone += pte_is_swap(sim_pte(i)) && area_of(i) == 1;
		assert_int_equal(gone, done);
		/* What was written in vain was given back. */
		assert_int_equal(sim->disk->store.stat.pages, done);
		if (wanted) {
			assert_int_equal(pte_swp(sim_pte(3)).v, entry.v);
			assert_true(pte_is_present(sim_pte(5)));
			swap_slot_of(&sim->m.swap, entry)->flags &= (uint8_t)~SLOT_READING;
		} else {
			/* Both are of those that it chose. */
			assert_int_equal(area_of(3), 1);
			assert_int_equal(area_of(5), 1);
		}
		read_all(0, DEMOTE_BATCH);
		check_all();
		sim_drop();
	}
}

static void a_machine_that_ends_gives_every_frame_back(void **state)
{
	(void)state;
	for (unsigned used = 0; used < 2; used++) {
		sim_make(24, 600, true, FAKE_CELLS);
		uint32_t largest = phys()->zones[0].area[MAX_PAGE_ORDER].nr_free;

		/* Slot tables of both areas, page tables, areas, the pool. */
		sim->zpool.store.max_frames = 48;
		map_pages(0, SIM_PAGES);
		if (used > 0)
			out_small(0, 300);
		assert_true(phys_free_frames(phys(), 0) < sim->free_at_start);
		sim_end();
		assert_int_equal(phys_free_frames(phys(), 0), sim->free_at_start);
		assert_true(phys()->zones[0].area[MAX_PAGE_ORDER].nr_free >= largest);
		phys_check(phys());
		sim_free();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_touch_outside_every_area_is_invalid),
		cmocka_unit_test(a_page_goes_all_the_way_out_and_comes_back),
		cmocka_unit_test(kswapd_stops_at_high),
		cmocka_unit_test(kswapd_is_woken_when_an_allocation_meets_low),
		cmocka_unit_test(kswapd_stops_when_asked),
		cmocka_unit_test(without_a_store_kswapd_gives_up_and_nothing_is_lost),
		cmocka_unit_test(a_full_store_makes_kswapd_give_up_and_nothing_is_lost),
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
		cmocka_unit_test(refaults_are_judged_by_their_distance),
		cmocka_unit_test(refaults_go_to_the_list_that_their_distance_earns),
		cmocka_unit_test(a_stream_of_pages_used_once_passes_by_the_hot_ones),
		cmocka_unit_test(a_full_pool_passes_on_what_was_evicted_first),
		cmocka_unit_test(a_page_that_a_fault_is_reading_is_not_passed_on),
		cmocka_unit_test(a_page_that_is_wanted_while_it_is_passed_on_stays),
		cmocka_unit_test(a_machine_that_ends_gives_every_frame_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

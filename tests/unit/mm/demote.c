/* The pool passes on to the disk what was evicted first, and faults come in between; all of it ends with the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

/* Writes the page, which is there; so many of its words will not compress. */
static void write_words(unsigned i, unsigned random)
{
	uint64_t *words = (uint64_t *)sim->bytes[i];

	for (unsigned k = 0; k < PAGE_SIZE / sizeof(*words); k++)
		words[k] = k < random ? rand_u64(&sim->rand) : i;
	memcpy(sim->want[i], words, PAGE_SIZE);
}

/* Writes the pages [start, end), so that several go into a frame of the pool, and gets them out of memory. */
static void out_small(unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++) {
		touch(i);
		write_words(i, 100);
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

/*
 * Pages come back and leave with another size, so that what is free in the pool is of the wrong size mostly. The youngest page of
 * all is not to go to the disk for that.
 */
static void whatever_its_size_the_youngest_finds_room(void **state)
{
	const unsigned pages = 600, rounds = 6000, frames = 80;
	unsigned passed_by = 0;

	(void)state;
	sim_make(26, 600, true, FAKE_CELLS);
	sim->m.streams = false;
	sim->zpool.store.max_frames = frames;
	map_pages(0, SIM_PAGES);
	out_small(0, pages);
	for (unsigned n = 0; n < rounds; n++) {
		unsigned i = (unsigned)sim_below(pages);

		read_all(i, i + 1);
		write_words(i, 10 + (unsigned)sim_below(100));
		all_swapped(i, i + 1);
		passed_by += n >= rounds / 2 && area_of(i) != 0;
		assert_true(sim->zpool.store.stat.frames <= frames);
	}
	assert_true(passed_by < rounds / 2 / 100);
	/* And the pool holds as many as it can: two thirds of its room is what they take. */
	assert_true(sim->zpool.store.stat.bytes > frames * PAGE_SIZE * 2 / 3);
	read_all(0, pages);
	check_all();
	sim_drop();
}

/* The naive answer to whether a page was away for so short a time that the pool would have kept it: a count of evictions. */
static bool soon(uint64_t evicted_since)
{
	return evicted_since <= lru_resident(&sim->m.lruvec[0]) + sim->zpool.store.stat.pages;
}

static void what_comes_back_soon_leaves_for_the_pool_again(void **state)
{
	uint64_t age[FAKE_CELLS];
	unsigned back[2] = { 0 };

	(void)state;
	sim_make(24, 600, true, FAKE_CELLS);
	sim->m.streams = false;
	sim->zpool.store.max_frames = 48;
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < 400; i++) {
		out_small(i, i + 1);
		age[i] = sim->m.lruvec[0].age;
	}
	/* Each twice: after a long time, and at once. */
	for (unsigned n = 0; n < 800; n++) {
		unsigned i = n / 2;
		uint64_t away = sim->m.lruvec[0].age - age[i];

		if (area_of(i) != 1)
			continue;
		/* The age of a page is as coarse as a bucket. */
		bool clear = soon(away + 16) == soon(away - MIN(away, 16)), wanted = soon(away);

		read_all(i, i + 1);
		all_swapped(i, i + 1);
		age[i] = sim->m.lruvec[0].age;
		if (!clear)
			continue;
		assert_int_equal(area_of(i), wanted ? 0 : 1);
		back[wanted]++;
	}
	assert_true(back[0] > 20 && back[1] > 20);
	assert_true(sim->counter[VM_pgpromote] >= back[1]);
	read_all(0, 400);
	check_all();
	sim_drop();
}

static void what_the_pool_refuses_keeps_its_copy_below(void **state)
{
	(void)state;
	sim_make(25, 600, true, FAKE_CELLS);
	sim->m.streams = false;
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < 20; i++) {
		touch(i);
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			sim->bytes[i][k] = (uint8_t)rand_u64(&sim->rand);
		memcpy(sim->want[i], sim->bytes[i], PAGE_SIZE);
	}
	all_swapped(0, 20);
	/* Each twice: the second time comes as soon as can be. */
	for (unsigned n = 0; n < 40; n++) {
		unsigned i = n / 2;
		swp_t entry = pte_swp(sim_pte(i));

		assert_int_equal(area_of(i), 1);
		read_all(i, i + 1);
		all_swapped(i, i + 1);
		assert_int_equal(pte_swp(sim_pte(i)).v, entry.v);
	}
	assert_int_equal(sim->counter[VM_pgpromote], 0);
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
		cmocka_unit_test(a_full_pool_passes_on_what_was_evicted_first),
		cmocka_unit_test(whatever_its_size_the_youngest_finds_room),
		cmocka_unit_test(what_comes_back_soon_leaves_for_the_pool_again),
		cmocka_unit_test(what_the_pool_refuses_keeps_its_copy_below),
		cmocka_unit_test(a_page_that_a_fault_is_reading_is_not_passed_on),
		cmocka_unit_test(a_page_that_is_wanted_while_it_is_passed_on_stays),
		cmocka_unit_test(a_machine_that_ends_gives_every_frame_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Pages that come back: how long they were away decides where they go, and who used them once pushes nobody out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

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

		while (bucket * 16 < resident)
			bucket *= 2;
		lru.nr[LRU_ACTIVE_ANON] = rand_below(&r, resident);
		lru.nr[LRU_INACTIVE_ANON] = (resident - lru.nr[LRU_ACTIVE_ANON]) / 2;
		lru.nr[LRU_SAMPLE] = resident - lru.nr[LRU_ACTIVE_ANON] - lru.nr[LRU_INACTIVE_ANON];
		lru.age = rand_u64(&r) >> (8 + rand_below(&r, 40));
		lru.age_order = 0;

		uint8_t shadow = workingset_shadow(&lru);
		uint64_t evicted = lru.age, distance = rand_below(&r, 2 * resident);

		lru.age += distance;
		uint64_t before = lru.age;
		bool active = workingset_hot(&m, &lru, workingset_distance(&lru, shadow), false);

		assert_int_equal(lru.age, before + active);
		assert_true(evicted + distance == before);
		/* 255 buckets are at least 16 times what is resident: nothing wraps here. */
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

/* The shadow of a page that is out has 8 bits: however often they wrap, it is known how old it is, more or less. */
static void ages_do_not_wrap(void **state)
{
	enum { HOT = 400, ALL = 500 };
	uint64_t went[ALL] = { 0 }, touched[HOT] = { 0 };
	unsigned looks = 0, young = 0, out = 0;

	(void)state;
	sim_make(34, 360, true, FAKE_CELLS);
	map_pages(0, SIM_PAGES);
	for (unsigned i = 0; i < ALL; i++)
		touch(ALL - 1 - i);
	struct lruvec *v = &sim->m.lruvec[0];

	while (v->age < 2000 * workingset_bucket(v)) {
		unsigned page = (unsigned)sim_below(HOT);

		touch(page);
		touched[page] = v->age;
		bool look = v->age > (300 + 7 * looks) * workingset_bucket(v);

		looks += look;
		for (unsigned i = HOT; i < ALL; i++) {
			if (went[i] == 0 && pte_is_swap(sim_pte(i)))
				went[i] = v->age;
			if (!look)
				continue;
			const struct swap_slot *slot = swap_slot_of(&sim->m.swap, pte_swp(sim_pte(i)));
			uint64_t is = workingset_slot_age(&sim->m, v, slot), was = (v->age - went[i]) / workingset_bucket(v);

			/* The hand comes by late by a lap at most, and laps are rounded. */
			assert_in_range(is, was - MIN(was, 128), was + 66);
		}
	}
	assert_true(looks > 200);
	/* It is not hot when it comes back. */
	assert_int_equal(fault(ALL - 1), FAULT_DONE);
	assert_int_equal(lru_list_of(frame_at(ALL - 1)), LRU_INACTIVE_ANON);
	/* And what was touched later is no older than its touch. */
	for (unsigned i = 0; i < HOT; i++)
		if (pte_is_swap(sim_pte(i))) {
			out++;
			young += workingset_slot_age(&sim->m, v, swap_slot_of(&sim->m.swap, pte_swp(sim_pte(i)))) <=
				 (v->age - touched[i]) / workingset_bucket(v) + 66;
		}
	assert_true(out > 0 && young == out);
	check_all();
	sim_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refaults_are_judged_by_their_distance),
		cmocka_unit_test(refaults_go_to_the_list_that_their_distance_earns),
		cmocka_unit_test(a_stream_of_pages_used_once_passes_by_the_hot_ones),
		cmocka_unit_test(ages_do_not_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

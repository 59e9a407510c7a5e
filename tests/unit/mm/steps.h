/* Steps of tests over the simulated host (sim.h), for cmocka. Include after its headers. */
#ifndef STW_TEST_STEPS_H
#define STW_TEST_STEPS_H

#include "sim.h"

static inline struct phys *phys(void)
{
	return &sim->m.phys;
}

static inline struct frame *frame_at(unsigned page)
{
	return pfn_frame(phys(), pte_pfn(sim_pte(page)));
}

/* The kernel maps, the manager hears of it. */
static inline void map_pages(unsigned start, unsigned n)
{
	for (unsigned i = start; i < start + n; i++)
		sim->page[i].mapped = true;
	assert_int_equal(mm_map(&sim->mm, sim_vpn(start), sim_vpn(start + n), VMA_READ | VMA_WRITE, NULL, 0), 0);
}

/* A step of kswapd. */
static inline unsigned reclaim(void)
{
	bool progress = false;

	demote_step(&sim->m);
	return reclaim_batch(&sim->m, true, &progress);
}

static inline enum fault_result fault(unsigned page)
{
	return mm_fault(&sim->mm, sim_vpn(page), FAULT_ANY, NULL);
}

/* The program writes; faults are served and reclaim is done as it must be. */
static inline void touch(unsigned page)
{
	while (!sim->page[page].there) {
		enum fault_result r = fault(page);

		assert_true(r == FAULT_DONE || r == FAULT_NOMEM);
		if (r == FAULT_NOMEM)
			assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
	}
	sim_write(page);
}

static inline void check_all(void)
{
	mm_check(&sim->mm);
	phys_check(phys());
	for (unsigned i = 0; i < SIM_PAGES; i++)
		sim_check_page(i, false);
}

/* Reclaims until what is resident of pages [start, end) is in a store. */
static inline void all_swapped(unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++)
		while (!pte_is_none(sim_pte(i)) && !pte_is_swap(sim_pte(i)))
			reclaim();
}

static inline unsigned first_soft(void)
{
	unsigned i = 0;

	while (i < SIM_PAGES && !pte_is_soft(sim_pte(i)))
		i++;
	assert_true(i < SIM_PAGES);
	return i;
}

#endif

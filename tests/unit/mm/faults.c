/*
 * A disk that fails, under a program that verifies each page: thousands of runs by seed. A page is what was written, or
 * the program is told that it is lost, and that only if a fault was for good. Nothing hangs. FAULTS_SEED=N runs one alone.
 */
#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../caught.h"
#include "steps.h"

#define PAGES 320
#define FRAMES 240
#define SEEDS 2000
#define RUNS 8     /* of one machine */
#define TOUCHES 250
#define ROUNDS 300 /* of reclaim for one frame, after which a run counts as hanging */

/* What all runs together have met. */
static struct {
	uint64_t faults, lost, failing, dead, between, out, in;
} met;

static uint64_t failing_seed;
static bool lost;
static bool between; /* a fault is being served while a write is late */

/* One touch. False: the page is lost, or memory is full and nothing can go out. */
static bool touched(unsigned page)
{
	for (unsigned round = 0; !sim->page[page].there; round++) {
		enum fault_result r = fault(page);

		ASSERT(r == FAULT_DONE || r == FAULT_NOMEM || r == FAULT_LOST || r == FAULT_WAIT);
		ASSERT(round < ROUNDS);
		lost |= r == FAULT_LOST;
		if (r == FAULT_LOST || between)
			return false;
		if (r != FAULT_NOMEM || kswapd_balance(&sim->m, 0, NULL, NULL) == 0)
			continue;
		/* As the pager does every now and then. */
		swap_try_again(&sim->m.swap);
		if (sim->faulty.lasting && atomic_load(&sim->faulty.writes_fail))
			return false;
	}
	return true;
}

/* While a page is being written, another one is wanted. */
static void fault_in_between(void)
{
	unsigned page = (unsigned)sim_below(PAGES);

	if (sim->locked || !sim->m.reclaiming || between || sim->page[page].there)
		return;
	between = true;
	sim->locked = true;
	touched(page);
	sim->locked = false;
	between = false;
	met.between++;
}

static bool has_pool(uint64_t seed)
{
	return seed / RUNS % 2 == 0;
}

/* Some runs share a machine: making one takes longer than they do. Half of them have a pool, which takes what it can. */
static void machine(uint64_t seed)
{
	sim_make_faulty(seed, FRAMES, has_pool(seed), FAKE_CELLS, 1, false);
	if (has_pool(seed))
		sim->zpool.store.max_frames = 20;
}

static void begin(uint64_t seed)
{
	bool lasting = seed % 2 != 0;

	lost = between = false;
	failing_seed = seed;
	rand_seed(&sim->rand, seed);
	faulty_init(&sim->faulty, &sim->disk->store, seed, 1 + (uint32_t)(seed * 7919 % (lasting ? 200 : 80)), lasting);
	sim->faulty.late = fault_in_between;
	swap_try_again(&sim->m.swap);
	memset(sim->want, 0, PAGES * PAGE_SIZE);
	map_pages(0, PAGES);
}

static void play(void)
{
	for (unsigned i = 0; i < TOUCHES && !lost; i++) {
		unsigned page = (unsigned)sim_below(PAGES);

		if (!touched(page))
			break;
		/* What a page never written to holds is in `want` too: zeros. */
		sim_read(page);
		if (sim_below(2))
			sim_write(page);
		if (sim_below(16) == 0)
			reclaim();
	}
}

/* The program is over: whatever it had is free again. */
static void end(void)
{
	const struct swap_area *disk = &sim->m.swap.area[sim->m.swap.nr_areas - 1];

	ASSERT(!lost || sim->faulty.lasting);
	met.faults += atomic_load(&sim->faulty.faults);
	met.lost += lost;
	met.failing += disk->state == SWAP_AREA_FAILING;
	met.dead += disk->state == SWAP_AREA_DEAD;
	mm_check(&sim->mm);
	memset(sim->page, 0, sizeof(sim->page));
	ASSERT(mm_unmap(&sim->mm, sim_vpn(0), sim_vpn(PAGES)) == 0);
	ASSERT(swap_used(&sim->m.swap) == 0 && sim->mm.rss == 0);
}

static void failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "# FAULTS_SEED=%llu: %s:%d: %s\n", (unsigned long long)failing_seed, file, line, what);
}

/* All runs of a machine, or the one of this seed. */
static void runs(uint64_t first, uint64_t n)
{
	machine(first);
	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(seed);
		play();
		end();
	}
	met.out += sim->counter[VM_pswpout];
	met.in += sim->counter[VM_pswpin];
	sim_drop();
}

static void no_byte_is_wrong_and_nothing_hangs(void **state)
{
	const char *only = getenv("FAULTS_SEED");

	(void)state;
	assert_fail_hook = failed;
	if (only != NULL) {
		runs(strtoull(only, NULL, 0), 1);
		return;
	}
	for (uint64_t seed = 0; seed < SEEDS; seed += RUNS)
		runs(seed, RUNS);
	assert_fail_hook = NULL;
	print_message("# %u runs: %llu faults, %llu lost, %llu failing, %llu dead, %llu between, %llu out, %llu in\n", SEEDS,
		      (unsigned long long)met.faults, (unsigned long long)met.lost, (unsigned long long)met.failing,
		      (unsigned long long)met.dead, (unsigned long long)met.between,
		      (unsigned long long)met.out, (unsigned long long)met.in);
	assert_true(met.faults > 5 * SEEDS && met.lost > SEEDS / 40 && met.failing > SEEDS / 40 && met.between > SEEDS / 4);
	assert_true(met.out > 50 * SEEDS && met.in > 20 * SEEDS);
}

static void play_seed(uint64_t seed, bool canary)
{
	machine(seed);
	begin(seed);
	if (canary)
		sim->m.swap.unchecked = true;
	/* No copies in the cache: whoever checks nothing would take each of them for good. */
	for (unsigned i = 0; i < sim->m.swap.nr_areas; i++)
		sim->m.swap.area[i].keep = false;
	play();
}

/* Pages that come back are not compared with their checksum: the runs must show it. */
static void a_planted_bug_is_found(void **state)
{
	static unsigned found, found_without;
	static uint64_t seed;

	(void)state;
	/* Odd ones fail more often. */
	for (seed = 1; seed < 80; seed += 2) {
		found += CAUGHT(play_seed(seed, true));
		sim_free();
		found_without += CAUGHT(play_seed(seed, false));
		sim_free();
	}
	print_message("# %u of 40 runs found it\n", found);
	assert_true(found >= 8);
	assert_int_equal(found_without, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_byte_is_wrong_and_nothing_hangs),
		cmocka_unit_test(a_planted_bug_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

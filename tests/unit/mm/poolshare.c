/*
 * The pool's share of memory follows the program. A hot set beside pages that nobody wants any more: the pool gets small,
 * until the hot set is resident. Everything wanted alike: the pool gets large, until nobody waits for the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "steps.h"

#define FRAMES 600
#define HOT 360
#define ALL 700
#define TOUCHES 120000
#define PATIENCE 40 /* quarters of that, until the share has followed */
#define SMALL 100 /* thousandths */
#define LARGE 450
/* ns. A slow machine: time passes quickly. */
#define TOUCH 2000
#define POOL_FAULT 50000
#define DISK_FAULT 400000

static uint64_t now;
static unsigned fixed; /* a share that does not follow; 0: it does */

static uint64_t tell_time(struct machine *m)
{
	(void)m;
	return now;
}

static bool on_disk(unsigned page)
{
	pte_t pte = sim_pte(page);

	return pte_is_swap(pte) && swp_area(pte_swp(pte)) == 1;
}

/* The program writes the page, which is there: random words in half of it, so that two go into a frame. */
static void write_page(unsigned page)
{
	uint64_t *words = (uint64_t *)sim->bytes[page];

	for (unsigned k = 0; k < PAGE_SIZE / sizeof(*words); k++)
		words[k] = k < 240 ? rand_u64(&sim->rand) : page;
	memcpy(sim->want[page], words, PAGE_SIZE);
}

struct waits {
	unsigned touches, pool, disk;
};

/* Writes or reads n pages at random of the first `wide`, as time goes by. */
static struct waits run(unsigned wide, unsigned n)
{
	struct waits w = { .touches = n };

	for (unsigned i = 0; i < n; i++) {
		unsigned page = (unsigned)sim_below(wide);
		bool disk = on_disk(page);
		uint64_t major = sim->counter[VM_pgmajfault];

		now += TOUCH;
		while (!sim->page[page].there)
			if (fault(page) == FAULT_NOMEM)
				assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
		/* What is only read stays as it is below, if it may. */
		if (page % 2 == 0)
			write_page(page);
		else
			sim_read(page);
		if (sim->counter[VM_pgmajfault] != major) {
			w.disk += disk;
			w.pool += !disk;
			now += disk ? DISK_FAULT : POOL_FAULT;
			if (disk)
				poolshare_waited(&sim->m, DISK_FAULT, 1);
		}
		if (i % 64 != 0)
			continue;
		uint64_t frames = phys_managed_frames(phys(), 0);

		sim->zpool.store.max_frames = fixed != 0 ? frames * fixed / 1000 : poolshare_limit(&sim->m, frames, now);
		kswapd_balance(&sim->m, 0, NULL, NULL);
	}
	return w;
}

/* The first three quarters are for the share to settle. */
static struct waits settled(unsigned wide, unsigned n)
{
	run(wide, n / 4 * 3);
	return run(wide, n / 4);
}

static void begin(uint64_t seed, unsigned share)
{
	static struct machine_ops ops;

	fixed = share;
	now = 1;
	sim_make(seed, FRAMES, true, FAKE_CELLS);
	ops = *sim->m.ops;
	ops.now_ns = tell_time;
	sim->m.ops = &ops;
	map_pages(0, ALL);
	for (unsigned i = 0; i < ALL; i++) {
		touch(i);
		write_page(i);
	}
}

static void end(void)
{
	check_all();
	sim_drop();
}

static void the_share_follows_the_program(void **state)
{
	struct waits small, large, w = { 0 };

	(void)state;
	/* What the share is good for: each of two that stand still is bad at one of the two. */
	begin(31, SMALL);
	small = settled(ALL, TOUCHES);
	end();
	begin(31, LARGE);
	large = settled(HOT, TOUCHES);
	end();
	assert_true(small.disk > small.touches / 20);
	assert_true(large.pool > large.touches / 20);
	begin(31, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned n = 0; n < PATIENCE && (n == 0 || w.pool + w.disk > large.pool / 4); n++)
			w = run(HOT, TOUCHES / 4);
		assert_true(w.pool + w.disk <= large.pool / 4);
		for (unsigned n = 0; n < PATIENCE && (n == 0 || w.disk > small.disk / 10); n++)
			w = run(ALL, TOUCHES / 4);
		assert_true(w.disk <= small.disk / 10);
	}
	end();
}

/* What does not fit is in the pool, and is wanted as often as the rest: nothing goes to the disk to see whether it is. */
static void where_all_pages_are_wanted_alike_none_is_passed_on(void **state)
{
	(void)state;
	begin(34, 0);
	run(ALL, TOUCHES);
	assert_int_equal(sim->counter[VM_pgdemote], 0);
	assert_int_equal(sim->m.poolshare.share, 650);
	end();
}

/* Nobody comes back: nothing says that another share would be better. */
static void without_refaults_it_stays(void **state)
{
	(void)state;
	begin(32, 0);
	for (unsigned i = 0; i < 100; i++) {
		now += 1000000000;
		assert_int_equal(poolshare_limit(&sim->m, 1000, now), 650);
	}
	end();
}

/* The disk is full: the pool has to take what there is. */
static void without_a_place_below_the_pool_gets_what_it_can(void **state)
{
	(void)state;
	sim_make(33, FRAMES, true, 0);
	assert_int_equal(poolshare_limit(&sim->m, 1000, 1), POOLSHARE_MAX);
	sim_drop();
	sim_make(33, FRAMES, false, FAKE_CELLS);
	assert_int_equal(poolshare_limit(&sim->m, 1000, 1), POOLSHARE_MAX);
	sim_drop();
}

/* What a machine of 512 MiB << doublings has seen in its first look. */
struct seen {
	unsigned near, tail; /* per cent of the pages that came back */
	uint64_t wait_ns;    /* for the area below */
	unsigned deeper;     /* per cent of the pages there that a deeper pool would have */
	bool down;           /* the last step was one down, and a tenth of what it passed on has come back */
};

/* Its share after that look: that of any other size, for all counts and times are in proportion. */
static uint32_t share_after(const struct seen *seen, unsigned doublings)
{
	static const struct store_ops in_memory = { .read_locked = true }, on_disk = { .read_locked = false };
	static struct machine m;
	static struct store pool, disk;
	static uint64_t counter[VM_COUNTER_NR];
	const uint64_t unit = UINT64_C(131072) << doublings, back = 8 * unit;

	pool = (struct store){ .ops = &in_memory, .stat = { .frames = unit * 65 / 100, .pages = unit * 26 / 10 } };
	disk = (struct store){ .ops = &on_disk };
	m.swap.nr_areas = 2;
	m.swap.area[0].store = &pool;
	m.swap.area[0].prio = 100;
	m.swap.area[1].store = &disk;
	m.swap.area[0].nr_used = pool.stat.pages;
	m.swap.area[1].nr_used = unit;
	m.lruvec[0].age = 20 * unit;
	m.lruvec[0].age_order = 9 + doublings;
	m.counter = counter;
	counter[VM_pgmajfault] = counter[VM_pswpin] = back;
	poolshare_init(&m);
	m.poolshare.since = 1;
	m.poolshare.frames = pool.stat.frames;
	m.poolshare.wait_ns = seen->wait_ns;
	m.poolshare.depth = 8;
	m.poolshare.down = seen->down;
	m.poolshare.below = 100;
	m.poolshare.deeper = seen->deeper;
	m.poolshare.passed_on = unit;
	m.poolshare.back = unit / 10;
	m.poolshare.events = (struct poolshare_events){ .near = back * seen->near / 100, .tail = back * seen->tail / 100, .demoted = back / 2 };
	poolshare_limit(&m, unit, 1 + (UINT64_C(1000000000) << doublings));
	return m.poolshare.share;
}

static void a_machine_of_terabytes_decides_as_a_small_one(void **state)
{
	static const unsigned near[] = { 0, 1, 12, 30, 60 }, tail[] = { 0, 1, 5, 20 };
	static const uint64_t wait_ns[] = { 20000, 100000, 5000000 };
	unsigned up = 0, down = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(near) * ARRAY_SIZE(tail) * ARRAY_SIZE(wait_ns) * 2; i++) {
		const struct seen seen = {
			.near = near[i / 2 % ARRAY_SIZE(near)],
			.tail = tail[i / 2 / ARRAY_SIZE(near) % ARRAY_SIZE(tail)],
			.wait_ns = wait_ns[i / 2 / ARRAY_SIZE(near) / ARRAY_SIZE(tail)],
			.deeper = 10,
			.down = i % 2,
		};
		uint32_t share = share_after(&seen, 0);

		up += share > 650;
		down += share < 650;
		for (unsigned doublings = 1; doublings <= 13; doublings++)
			assert_int_equal(share_after(&seen, doublings), share);
	}
	assert_true(up > 10 && down > 10);
}

/* So many pages come back from below: of few, to have those in the pool is worth a step; of all that are there, each is wanted seldom. */
static void what_comes_back_counts_by_the_page(void **state)
{
	const struct seen few = { .near = 12, .tail = 5, .wait_ns = 100000, .deeper = 1, .down = true },
			  all = { .near = 12, .tail = 5, .wait_ns = 100000, .deeper = 100, .down = true };

	(void)state;
	assert_true(share_after(&few, 0) > 650);
	assert_true(share_after(&all, 0) < 650);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_share_follows_the_program),
		cmocka_unit_test(where_all_pages_are_wanted_alike_none_is_passed_on),
		cmocka_unit_test(without_refaults_it_stays),
		cmocka_unit_test(without_a_place_below_the_pool_gets_what_it_can),
		cmocka_unit_test(a_machine_of_terabytes_decides_as_a_small_one),
		cmocka_unit_test(what_comes_back_counts_by_the_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Zones, nodes, kswapd, swap areas and the OOM killer on machines whose figures are worked out here from Linux's formulas:
 *
 *      min_free_kbytes = √(16 × kB of memory): 4096 frames are 16384 kB, √262144 = 512 kB = 128 pages
 *      a zone's MIN = its share of them; LOW and HIGH follow at max(MIN / 4, 0.1 % of the zone)
 *      an allocation passes a mark if free > mark + lowmem_reserve of what was asked for
 */
#include "machine.h"

enum { FRAMES = 4096, BASE = 512 * 8 };

static uint32_t free_of(const struct sim *s, unsigned zone)
{
	return s->m.phys.zones[zone].free;
}

static void assert_marks(const struct sim *s, unsigned zone, uint32_t min, uint32_t low, uint32_t high)
{
	const uint32_t *mark = s->m.phys.zones[zone].wmark;

	assert_int_equal(mark[WMARK_MIN], min);
	assert_int_equal(mark[WMARK_LOW], low);
	assert_int_equal(mark[WMARK_HIGH], high);
}

/* kswapd does nothing until direct reclaim has got somewhere: what MIN alone does can be seen. */
static void stop_kswapd(struct sim *s)
{
	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		s->m.kswapd[node].failures = KSWAPD_FAILURES;
}

/*
 * Task `task` writes to page after page of a mapping until counter `what` counts. marks: the free frames of each zone as they
 * were before the touch in which that happened. Of the leaf tables that are needed now and then the touches just before it
 * are kept clear: the last table is 1 to 511 pages away.
 */
static unsigned touch_until(struct sim *s, uint32_t task, enum vm_counter what, uint32_t *marks)
{
	unsigned i = 0;

	for (; i < FRAMES && s->counter[what] == 0; i++) {
		for (unsigned zone = 0; zone < s->m.phys.nr_zones; zone++)
			marks[zone] = free_of(s, zone);
		task_touch(s, task, BASE + i, TRACE_W);
	}
	assert_true(s->counter[what] > 0);
	assert_true((i - 1) % 512 != 0);
	return i;
}

static struct sim *one_task(const struct sim_config *c, uint32_t task)
{
	struct sim *s = machine_make(c);

	task_begin(s, task);
	task_mmap(s, task, BASE, FRAMES, TRACE_R | TRACE_W, 0, 0);
	return s;
}

static void kswapd_is_woken_at_low_and_sleeps_at_high(void **state)
{
	struct sim_config c;
	uint32_t before[1];

	(void)state;
	machine_config(&c, FRAMES);
	machine_swap(&c, SIM_SWAP_DISK, 2 * FRAMES, 1);
	struct sim *s = one_task(&c, 0);

	assert_marks(s, 0, 128, 160, 192);
	touch_until(s, 0, VM_kswapd_wake, before);
	assert_int_equal(before[0], 160);
	assert_true(s->kswapd[0].awake);
	assert_int_equal(s->counter[VM_allocstall], 0);
	assert_int_equal(s->counter[VM_pswpout], 0);

	/* The program computes; kswapd has all the time it wants. A pass may free HIGH pages more than it had to. */
	for (unsigned i = 0; i < 100; i++)
		event(s, (struct trace_event){ .op = TRACE_TIME, .arg = 1000000 });
	assert_false(s->kswapd[0].awake);
	assert_true(free_of(s, 0) >= 192 && free_of(s, 0) < 192 + 192);
	assert_int_equal(s->counter[VM_pgsteal_kswapd], s->counter[VM_pswpout]);
	assert_int_equal(s->counter[VM_pgsteal_direct], 0);

	/* What it freed is there to be used before it is woken again. */
	uint32_t spare = free_of(s, 0) - 160;

	s->counter[VM_kswapd_wake] = 0;
	for (uint32_t i = 0; i < spare; i++)
		task_touch(s, 0, BASE + FRAMES - 512 + i, TRACE_W);
	assert_true(s->counter[VM_kswapd_wake] <= 1);
	sim_check(s);
	sim_destroy(s);
}

static void below_min_a_fault_reclaims_by_itself(void **state)
{
	struct sim_config c;
	uint32_t before[1];

	(void)state;
	machine_config(&c, FRAMES);
	machine_swap(&c, SIM_SWAP_DISK, 2 * FRAMES, 1);
	struct sim *s = one_task(&c, 0);

	stop_kswapd(s);
	touch_until(s, 0, VM_allocstall, before);
	assert_int_equal(before[0], 128);
	/* SWAP_CLUSTER_MAX is what it wants; the last batch may bring up to as many more. */
	assert_int_equal(s->counter[VM_allocstall], 1);
	assert_in_range(s->counter[VM_pgsteal_direct], 32, 63);
	/* Of what came back the fault took one, and the first slots a table: 4096 of 16 bytes are 16 pages. */
	assert_int_equal(free_of(s, 0), 128 + s->counter[VM_pgsteal_direct] - 1 - 16);
	sim_destroy(s);
}

/*
 *      DMA32: 1024 frames: MIN 128 / 4 = 32, LOW 40, HIGH 48; from a request that Normal would have served it keeps
 *      3072 / 256 = 12 more. Normal: 3072 frames: MIN 96, LOW 120, HIGH 144, and keeps nothing.
 */
static void lowmem_reserve_keeps_low_zones_from_requests_for_high_ones(void **state)
{
	struct sim_config c;
	uint32_t before[2];

	(void)state;
	machine_config(&c, FRAMES);
	c.nr_zones = 2;
	c.zone[0] = (struct sim_zone_config){ .name = "DMA32", .size_bytes = UINT64_C(1024) << PAGE_SHIFT, .reserve_ratio = 256 };
	c.zone[1] = (struct sim_zone_config){ .name = "Normal", .start_bytes = UINT64_C(1024) << PAGE_SHIFT,
					      .size_bytes = UINT64_C(3072) << PAGE_SHIFT, .reserve_ratio = 32 };
	machine_swap(&c, SIM_SWAP_DISK, 2 * FRAMES, 1);
	struct sim *s = one_task(&c, 0);

	assert_marks(s, 0, 32, 40, 48);
	assert_marks(s, 1, 96, 120, 144);
	assert_int_equal(s->m.phys.zones[0].lowmem_reserve[1], 12);
	stop_kswapd(s);
	touch_until(s, 0, VM_kswapd_wake, before);
	assert_int_equal(before[0], 40 + 12);
	/* While DMA32 gave its 972 pages, their two leaf tables came from Normal: tables are held to MIN alone. */
	assert_in_range(before[1], 120 - 2, 120);
	touch_until(s, 0, VM_allocstall, before);
	assert_int_equal(before[0], 32 + 12);
	assert_int_equal(before[1], 96);
	sim_destroy(s);
}

static void nodes_config(struct sim_config *c, unsigned nodes, uint32_t frames)
{
	machine_config(c, frames);
	c->nr_nodes = c->nr_zones = c->cpus = nodes;
	for (unsigned i = 0; i < nodes; i++) {
		c->zone[i] = (struct sim_zone_config){ .name = "Normal", .node = (uint8_t)i, .size_bytes = (uint64_t)frames << PAGE_SHIFT,
						       .start_bytes = (uint64_t)i * frames << PAGE_SHIFT };
		c->cpu_node[i] = (uint8_t)i;
	}
	machine_swap(c, SIM_SWAP_DISK, 4 * FRAMES, 1);
}

/* Two nodes of 2048: together 128, so each MIN 64, LOW 80, HIGH 96. Task 1 runs on CPU 1, which is on node 1. */
static void memory_comes_from_the_own_node_until_it_is_low(void **state)
{
	struct sim_config c;
	uint32_t before[2];

	(void)state;
	nodes_config(&c, 2, 2048);
	struct sim *s = one_task(&c, 1);
	uint32_t other = free_of(s, 0);
	unsigned i = 0;

	assert_marks(s, 0, 64, 80, 96);
	assert_marks(s, 1, 64, 80, 96);
	for (; free_of(s, 1) > 80; i++)
		task_touch(s, 1, BASE + i, TRACE_W);
	/* The other has given tables at most: 4 levels, and a leaf for each 512 pages. */
	assert_true(other - free_of(s, 0) <= 3 + 1 + i / 512);
	assert_int_equal(s->counter[VM_kswapd_wake], 0);
	other = free_of(s, 0);
	task_touch(s, 1, BASE + i, TRACE_W);
	assert_int_equal(free_of(s, 0), other - 1);
	assert_int_equal(free_of(s, 1), 80);

	/* Both are low: the kswapds of both are woken, and each works on its own. */
	s->counter[VM_kswapd_wake] = 0;
	touch_until(s, 1, VM_kswapd_wake, before);
	assert_int_equal(before[0], 80);
	assert_int_equal(before[1], 80);
	assert_int_equal(s->counter[VM_kswapd_wake], 2);
	for (i = 0; i < 100; i++)
		event(s, (struct trace_event){ .op = TRACE_TIME, .task = 1, .arg = 1000000 });
	assert_true(free_of(s, 0) >= 96 && free_of(s, 1) >= 96);
	assert_false(s->kswapd[0].awake || s->kswapd[1].awake);
	sim_check(s);
	sim_destroy(s);
}

/* From node 2 node 0 is at 20 and node 1 at 25: 2, 0, 1. From node 1 it is 25 to node 2 and 30 to node 0: 1, 2, 0. */
static void the_nearest_node_is_next(void **state)
{
	static const uint8_t distance[] = { 10, 30, 20, 30, 10, 25, 20, 25, 10 };
	static const unsigned next[] = { 2, 2, 0 };

	(void)state;
	for (uint32_t cpu = 0; cpu < 3; cpu++) {
		struct sim_config c;
		unsigned last = 3 - cpu - next[cpu], i = 0;

		nodes_config(&c, 3, 1024);
		c.nr_distances = ARRAY_SIZE(distance);
		memcpy(c.distance, distance, sizeof(distance));
		struct sim *s = one_task(&c, cpu);
		uint32_t low = s->m.phys.zones[0].wmark[WMARK_LOW], tables = 3 + 1 + 2048 / 512, began = free_of(s, last);

		for (; free_of(s, cpu) > low || free_of(s, next[cpu]) > low; i++)
			task_touch(s, cpu, BASE + i, TRACE_W);
		assert_true(began - free_of(s, last) <= tables);
		assert_int_equal(s->counter[VM_kswapd_wake], 0);
		sim_destroy(s);
	}
}

static void swap_goes_to_the_area_of_highest_priority_first(void **state)
{
	struct sim_config c;
	bool full = false;

	(void)state;
	machine_config(&c, FRAMES);
	machine_swap(&c, SIM_SWAP_COMPRESSED, 100, 10);
	machine_swap(&c, SIM_SWAP_DISK, 2 * FRAMES, 5);
	struct sim *s = one_task(&c, 0);

	for (unsigned i = 0; i < FRAMES; i++) {
		task_touch(s, 0, BASE + i, TRACE_W);
		full |= s->m.swap.area[0].nr_used == 100;
		if (!full)
			assert_int_equal(s->m.swap.area[1].nr_used, 0);
	}
	assert_true(full);
	/* Pages were only ever written, and none came back: all that left is out there. */
	assert_int_equal(s->m.swap.area[0].nr_used, 100);
	assert_int_equal(s->m.swap.area[1].nr_used, s->counter[VM_pswpout] - 100);
	sim_destroy(s);
}

static void grow(struct sim *s, uint32_t task, unsigned pages, int adj)
{
	task_begin(s, task)->oom_score_adj = adj;
	task_mmap(s, task, BASE, pages, TRACE_R | TRACE_W, 0, 0);
	for (unsigned i = 0; i < pages && sim_task(s, task)->end == SIM_RUNS; i++)
		task_touch(s, task, BASE + i, TRACE_W);
}

/*
 * 4096 frames and no swap: a thousandth is 4 pages. Task 1: 500 pages in one leaf, 4 tables, adj 300: 504 + 1200 = 1704.
 * Task 2: 800 pages, task 3: 1200, but never (-1000). Task 4 grows; at about 1460 of its own, memory is at MIN, and task 1,
 * the smallest, has most points. What it leaves lasts for 500 more; then task 4 has 1960 and goes itself.
 */
static void the_oom_killer_goes_by_points_not_by_size(void **state)
{
	struct sim_config c;

	(void)state;
	machine_config(&c, FRAMES);
	struct sim *s = machine_make(&c);

	grow(s, 1, 500, 300);
	grow(s, 2, 800, 0);
	grow(s, 3, 1200, -1000);
	assert_int_equal(s->nr_oom, 0);
	grow(s, 4, 3000, 0);
	assert_int_equal(s->nr_oom, 2);
	assert_int_equal(s->oom[0].task, 1);
	assert_non_null(strstr(s->oom[0].text, "1704 points = rss 500 + swap 0 + page tables 4 pages, oom_score_adj 300, of 4096 pages"));
	assert_int_equal(s->oom[1].task, 4);
	assert_int_equal(sim_task(s, 1)->end, SIM_KILLED_OOM);
	assert_int_equal(sim_task(s, 2)->end, SIM_RUNS);
	assert_int_equal(sim_task(s, 3)->end, SIM_RUNS);
	assert_int_equal(sim_task(s, 4)->end, SIM_KILLED_OOM);

	/* The last who may be killed goes, the one who may not stays, and the machine stops when it asks for more. */
	grow(s, 5, 3000, -1000);
	assert_int_equal(s->oom[2].task, 2);
	assert_int_equal(s->nr_oom, 3);
	assert_true(s->stopped);
	sim_check(s);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kswapd_is_woken_at_low_and_sleeps_at_high),
		cmocka_unit_test(below_min_a_fault_reclaims_by_itself),
		cmocka_unit_test(lowmem_reserve_keeps_low_zones_from_requests_for_high_ones),
		cmocka_unit_test(memory_comes_from_the_own_node_until_it_is_low),
		cmocka_unit_test(the_nearest_node_is_next),
		cmocka_unit_test(swap_goes_to_the_area_of_highest_priority_first),
		cmocka_unit_test(the_oom_killer_goes_by_points_not_by_size),
	};

	assert_fail_hook = law_broken;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

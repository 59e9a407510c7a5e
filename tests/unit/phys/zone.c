/* Zones, watermarks and zonelists: Linux's own figures, and what each depth may take. */
#include <errno.h>

#include "../memory.h"

static struct phys p;
static struct frame frames[8192];

static void linux_watermarks_and_protection_come_out(void **state)
{
	/* /proc/zoneinfo of an x86-64 machine with 10 GiB and min_free_kbytes 67584. */
	static const struct {
		uint32_t managed, wmark[NR_WMARK], protection[3];
	} want[3] = {
		{ 3840, { 26, 32, 38 }, { 0, 3019, 9547 } },
		{ 772915, { 5334, 6667, 8000 }, { 0, 0, 6528 } },
		{ 1671168, { 11534, 14417, 17300 }, { 0, 0, 0 } },
	};
	const struct phys_zone_config zones[] = {
		{ .name = "DMA", .start = { 1 }, .spanned = 4095, .reserve_ratio = 256 },
		{ .name = "DMA32", .start = { 4096 }, .spanned = 1044480, .reserve_ratio = 256 },
		{ .name = "NORMAL", .start = { 1048576 }, .spanned = 1671168, .reserve_ratio = 32 },
	};

	(void)state;
	assert_int_equal(phys_init(&p, NULL, NULL, 1u << 22, zones, 3, NULL), 0);
	p.min_free_kbytes = 67584;
	for (unsigned i = 0; i < 3; i++)
		p.zones[i].managed = want[i].managed;
	phys_setup_watermarks(&p);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned m = 0; m < NR_WMARK; m++)
			assert_int_equal(p.zones[i].wmark[m], want[i].wmark[m]);
		for (unsigned j = 0; j < 3; j++)
			assert_int_equal(p.zones[i].lowmem_reserve[j], want[i].protection[j]);
	}
	assert_int_equal(phys_wmark(&p, 0, WMARK_HIGH), 38 + 8000 + 17300);
}

static void min_free_kbytes_grows_with_the_root_of_memory(void **state)
{
	/* The table in the comment of Linux's calculate_min_free_kbytes, and both clamps. */
	static const struct {
		uint64_t mib;
		uint32_t kbytes;
	} want[] = {
		{ 0, 0 }, { 1, 128 }, { 16, 512 }, { 32, 724 }, { 64, 1024 }, { 128, 1448 }, { 256, 2048 }, { 512, 2896 },
		{ 1024, 4096 }, { 2048, 5792 }, { 4096, 8192 }, { 8192, 11584 }, { 16384, 16384 }, { 8 << 20, 262144 },
	};
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = UINT32_MAX };

	(void)state;
	assert_int_equal(phys_init(&p, NULL, NULL, UINT32_MAX, &zone, 1, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		p.zones[0].managed = (uint32_t)(want[i].mib * MIB / PAGE_SIZE);
		phys_setup_watermarks(&p);
		assert_int_equal(p.zones[0].wmark[WMARK_MIN], want[i].kbytes / 4);
	}
}

static void zones_that_overlap_or_leave_the_frame_table_are_refused(void **state)
{
	struct phys_zone_config zones[] = {
		{ .name = "a", .start = { 0 }, .spanned = 100 },
		{ .name = "b", .start = { 100 }, .spanned = 100 },
	};

	(void)state;
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 2, NULL), 0);
	assert_int_equal(phys_init(&p, NULL, frames, 199, zones, 2, NULL), -EINVAL);
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 0, NULL), -EINVAL);
	zones[1].start.n = 99;
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 2, NULL), -EINVAL);
	zones[1] = (struct phys_zone_config){ .name = "b", .start = { UINT32_MAX }, .spanned = 2 };
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 2, NULL), -EINVAL);
	zones[1] = (struct phys_zone_config){ .name = "b", .start = { 100 }, .spanned = 0 };
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 2, NULL), -EINVAL);
	zones[1] = (struct phys_zone_config){ .name = "b", .start = { 100 }, .spanned = 9, .node = PHYS_NODES_MAX };
	assert_int_equal(phys_init(&p, NULL, frames, 200, zones, 2, NULL), -EINVAL);
}

static void check_list(unsigned node, const char *want)
{
	for (unsigned i = 0; i < p.nr_zones; i++)
		assert_int_equal(p.zones[p.zonelist[node][i]].name[0], want[i]);
}

static void zonelists_go_by_distance_and_spread_equal_nodes(void **state)
{
	const struct phys_zone_config zones[] = {
		{ .name = "d", .node = 0, .start = { 0 }, .spanned = 16, .reserve_ratio = 256 },
		{ .name = "a", .node = 0, .start = { 16 }, .spanned = 16, .reserve_ratio = 32 },
		{ .name = "b", .node = 1, .start = { 32 }, .spanned = 16, .reserve_ratio = 32 },
		{ .name = "c", .node = 2, .start = { 48 }, .spanned = 16, .reserve_ratio = 32 },
	};
	const uint8_t line[] = { 10, 20, 30, 20, 10, 20, 30, 20, 10 };

	(void)state;
	assert_int_equal(phys_init(&p, NULL, frames, 64, zones, 4, line), 0);
	assert_int_equal(p.nr_nodes, 3);
	check_list(0, "adbc");
	check_list(1, "bcad"); /* equal: the node after this one first */
	check_list(2, "cbad");
	assert_int_equal(phys_init(&p, NULL, frames, 64, zones, 4, NULL), 0);
	check_list(0, "adbc");
	check_list(1, "bcad");
	check_list(2, "cadb"); /* node 1 is the first choice of node 0 */

	/* A request that comes over from another node leaves DMA its reserve. */
	p.zones[0].managed = p.zones[1].managed = p.zones[2].managed = 2560;
	phys_setup_watermarks(&p);
	assert_int_equal(p.zones[0].lowmem_reserve[1], 10);
	assert_int_equal(p.zones[0].lowmem_reserve[2], 10);
	assert_int_equal(p.zones[2].lowmem_reserve[1], 0);
}

static void of_equal_nodes_the_one_fewer_others_prefer_comes_first(void **state)
{
	const struct phys_zone_config zones[] = {
		{ .name = "a", .node = 0, .start = { 0 }, .spanned = 16 },
		{ .name = "b", .node = 1, .start = { 16 }, .spanned = 16 },
		{ .name = "c", .node = 2, .start = { 32 }, .spanned = 16 },
		{ .name = "d", .node = 3, .start = { 48 }, .spanned = 16 },
	};
	const uint8_t distance[] = { 10, 30, 20, 30, 30, 10, 20, 20, 20, 20, 10, 30, 30, 20, 30, 10 };

	(void)state;
	assert_int_equal(phys_init(&p, NULL, frames, 64, zones, 4, distance), 0);
	check_list(0, "acbd");
	check_list(1, "bdca"); /* c is node 0's first choice already */
}

static void a_node_without_memory_borrows_from_the_nearest(void **state)
{
	const struct phys_zone_config zones[] = {
		{ .name = "a", .node = 0, .start = { 0 }, .spanned = 16 },
		{ .name = "c", .node = 2, .start = { 16 }, .spanned = 16 },
	};
	const uint8_t line[] = { 10, 30, 40, 30, 10, 20, 40, 20, 10 };

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 32, zones, 2, line), 0);
	check_list(1, "ca");
	phys_online(&p, (pfn_t){ 0 }, 16);
	phys_online(&p, (pfn_t){ 16 }, 16);
	struct frame *f = frame_alloc(&p, 1, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);

	assert_non_null(f);
	assert_int_equal(f->zone, 1);
}

static unsigned woken, woken_nodes;

static void wake(void *ctx, unsigned node)
{
	assert_ptr_equal(ctx, &p);
	woken++;
	woken_nodes |= 1u << node;
}

/* Allocates until nothing is left at this depth; returns the free frames then. */
static uint32_t drain(unsigned node, enum alloc_depth depth)
{
	while (frame_alloc(&p, node, 0, MIGRATE_MOVABLE, depth) != NULL)
		;
	uint32_t sum = 0;

	for (unsigned n = 0; n < p.nr_nodes; n++)
		sum += phys_free_frames(&p, n);
	return sum;
}

static void each_depth_digs_exactly_to_its_mark(void **state)
{
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = 8192 };
	uint32_t taken = 0;

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 8192, &zone, 1, NULL), 0);
	p.wake_kswapd = wake;
	p.ctx = &p;
	woken = 0;
	phys_online(&p, (pfn_t){ 0 }, 8192);
	assert_int_equal(p.zones[0].wmark[WMARK_MIN], 181); /* sqrt(32768 × 16) = 724 kB */

	while (woken == 0 && ++taken < 8192)
		assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_LOW));
	/* The allocation that woke kswapd was the first to go below LOW. */
	assert_int_equal(p.zones[0].free + 1, p.zones[0].wmark[WMARK_LOW]);

	woken = 0;
	assert_int_equal(drain(0, ALLOC_MIN), p.zones[0].wmark[WMARK_MIN]);
	assert_int_equal(woken, 0);
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_LOW));
	assert_int_equal(woken, 1);
	assert_int_equal(drain(0, ALLOC_RESERVE), 0);
	assert_int_equal(woken, 1);
}

static void fragmentation_above_low_wakes_nobody(void **state)
{
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = 1024 };

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 1024, &zone, 1, NULL), 0);
	p.min_free_kbytes = 16;
	p.wake_kswapd = wake;
	p.ctx = &p;
	woken = 0;
	phys_online(&p, (pfn_t){ 0 }, 1024);
	struct frame *f = frame_alloc(&p, 0, 10, MIGRATE_MOVABLE, ALLOC_RESERVE);

	frame_split(&p, f, 10);
	for (unsigned i = 0; i < 1024; i += 2)
		frame_free(&p, &f[i], 0);
	assert_null(frame_alloc(&p, 0, 1, MIGRATE_MOVABLE, ALLOC_LOW));
	assert_int_equal(woken, 0);
}

static void a_low_zone_keeps_its_reserve_from_those_content_with_a_higher_one(void **state)
{
	const struct phys_zone_config zones[] = {
		{ .name = "DMA", .node = 0, .start = { 0 }, .spanned = 1024, .reserve_ratio = 16 },
		{ .name = "NORMAL", .node = 0, .start = { 1024 }, .spanned = 4096, .reserve_ratio = 32 },
		{ .name = "NORMAL", .node = 1, .start = { 5120 }, .spanned = 2048, .reserve_ratio = 32 },
	};
	uint32_t low;

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 8192, zones, 3, NULL), 0);
	p.wake_kswapd = wake;
	p.ctx = &p;
	woken = woken_nodes = 0;
	for (unsigned i = 0; i < 3; i++)
		phys_online(&p, zones[i].start, zones[i].spanned);
	while (woken == 0)
		assert_non_null(frame_alloc(&p, 1, 0, MIGRATE_MOVABLE, ALLOC_LOW));
	assert_int_equal(woken, 2); /* every node once */
	assert_int_equal(woken_nodes, 3);
	low = drain(1, ALLOC_MIN);
	assert_int_equal(p.zones[0].free, p.zones[0].wmark[WMARK_MIN] + 4096 / 16);
	assert_int_equal(p.zones[1].free, p.zones[1].wmark[WMARK_MIN]);
	assert_int_equal(p.zones[2].free, p.zones[2].wmark[WMARK_MIN]);
	assert_int_equal(low, p.zones[0].free + p.zones[1].free + p.zones[2].free);
	phys_check(&p);
}

static void memory_comes_and_goes_and_the_watermarks_follow(void **state)
{
	static struct frame *held[1000];
	const struct phys_zone_config zone = { .name = "NORMAL", .start = { 5 }, .spanned = 8000 };
	uint32_t min;

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 8192, &zone, 1, NULL), 0);
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	phys_online(&p, (pfn_t){ 5 }, 3001);
	phys_check(&p);
	min = phys_wmark(&p, 0, WMARK_MIN);
	phys_online(&p, (pfn_t){ 3006 }, 4999);
	phys_check(&p);
	assert_true(phys_wmark(&p, 0, WMARK_MIN) > min);
	assert_int_equal(phys_managed_frames(&p, 0), 8000);
	for (unsigned i = 0; i < 1000; i++)
		held[i] = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
	min = phys_wmark(&p, 0, WMARK_MIN);
	phys_offline(&p, held, 1000);
	phys_check(&p);
	assert_int_equal(phys_managed_frames(&p, 0), 7000);
	assert_int_equal(phys_free_frames(&p, 0), 7000);
	assert_true(phys_wmark(&p, 0, WMARK_MIN) < min);
	for (unsigned i = 0; i < 1000; i++)
		phys_online(&p, frame_pfn(&p, held[i]), 1);
	phys_check(&p);
	assert_int_equal(phys_free_frames(&p, 0), 8000);
	/* [5, 8005) has the aligned 4 MiB blocks 1024 … 7168. */
	assert_int_equal(p.zones[0].area[MAX_PAGE_ORDER].nr_free, 6);
}

static void frames_never_online_are_not_written_to(void **state)
{
	static const struct frame zero;
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = 2048 };

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 2048, &zone, 1, NULL), 0);
	phys_online(&p, (pfn_t){ 512 }, 256);
	while (frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE) != NULL)
		;
	for (unsigned i = 512; i < 768; i++)
		frame_free(&p, &frames[i], 0);
	for (unsigned i = 0; i < 2048; i++)
		assert_true((i >= 512 && i < 768) || memcmp(&frames[i], &zero, sizeof(zero)) == 0);
	phys_check(&p);
}

static void going_online_writes_to_the_heads_of_blocks_only(void **state)
{
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = 8192 };
	unsigned written = 0;

	(void)state;
	memset(frames, 0, sizeof(frames));
	assert_int_equal(phys_init(&p, NULL, frames, 8192, &zone, 1, NULL), 0);
	phys_online(&p, (pfn_t){ 0 }, 8192);
	for (unsigned i = 0; i < 8192; i++)
		written += memcmp(&frames[i], &(struct frame){ 0 }, sizeof(frames[i])) != 0;
	assert_int_equal(written, 8192 >> MAX_PAGE_ORDER);
	phys_check(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_watermarks_and_protection_come_out),
		cmocka_unit_test(min_free_kbytes_grows_with_the_root_of_memory),
		cmocka_unit_test(zones_that_overlap_or_leave_the_frame_table_are_refused),
		cmocka_unit_test(zonelists_go_by_distance_and_spread_equal_nodes),
		cmocka_unit_test(of_equal_nodes_the_one_fewer_others_prefer_comes_first),
		cmocka_unit_test(a_node_without_memory_borrows_from_the_nearest),
		cmocka_unit_test(each_depth_digs_exactly_to_its_mark),
		cmocka_unit_test(fragmentation_above_low_wakes_nobody),
		cmocka_unit_test(a_low_zone_keeps_its_reserve_from_those_content_with_a_higher_one),
		cmocka_unit_test(memory_comes_and_goes_and_the_watermarks_follow),
		cmocka_unit_test(frames_never_online_are_not_written_to),
		cmocka_unit_test(going_online_writes_to_the_heads_of_blocks_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

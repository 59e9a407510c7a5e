/* The buddy system against a map of frames that knows nothing of blocks, and of types only what pageblocks say. */
#include "../caught.h"
#include "../memory.h"
#include "base/rand.h"

#define NR_FRAMES 3000u /* not a multiple of a block: the zone's edges are ragged */
#define ZONE_START 37u
#define MAX_BLOCKS 2048

static struct phys p;
static struct frame *frames;

enum { OFFLINE, FREE, USED };

/* The oracle: the state of every frame, and the blocks handed out. */
static struct {
	uint8_t state[NR_FRAMES];
	struct {
		uint32_t pfn;
		unsigned order;
	} block[MAX_BLOCKS];
	unsigned n;
	uint32_t nr_free;
} oracle;

static int make(void **state)
{
	const struct phys_zone_config zones[] = {
		{ .name = "LOW", .start = { ZONE_START }, .spanned = 1000, .reserve_ratio = 256 },
		{ .name = "HIGH", .start = { ZONE_START + 1000 }, .spanned = NR_FRAMES - 1000 - ZONE_START },
	};

	(void)state;
	frames = calloc(NR_FRAMES, sizeof(*frames));
	assert_non_null(frames);
	memset(&oracle, 0, sizeof(oracle));
	return phys_init(&p, NULL, frames, NR_FRAMES, zones, 2, NULL);
}

static int drop(void **state)
{
	(void)state;
	free(frames);
	return 0;
}

static void paint(uint32_t pfn, uint32_t n, uint8_t from, uint8_t to)
{
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(oracle.state[pfn + i], from);
		oracle.state[pfn + i] = to;
	}
	oracle.nr_free += to == FREE ? n : 0;
	oracle.nr_free -= from == FREE ? n : 0;
}

static void online(uint32_t pfn, uint32_t n)
{
	phys_online(&p, (pfn_t){ pfn }, n);
	paint(pfn, n, OFFLINE, FREE);
}

static bool zone_holds(const struct zone *z, uint32_t pfn, uint32_t n)
{
	return pfn >= z->start.n && pfn + n <= z->start.n + z->spanned;
}

/* Is there an aligned run of free frames inside one zone? Then an allocation must succeed. */
static bool run_exists(unsigned order)
{
	uint32_t n = 1u << order;

	for (uint32_t pfn = 0; pfn + n <= NR_FRAMES; pfn += n) {
		uint32_t i = 0;

		while (i < n && oracle.state[pfn + i] == FREE)
			i++;
		if (i == n && (zone_holds(&p.zones[0], pfn, n) || zone_holds(&p.zones[1], pfn, n)))
			return true;
	}
	return false;
}

/* The type of the pageblock around a frame; one that is free as a whole has none. */
enum { NO_TYPE = NR_MIGRATE_TYPES };

static unsigned type_at(const struct zone *z, uint32_t pfn)
{
	uint32_t start = pfn / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES, i = 0;

	while (i < PAGEBLOCK_FRAMES && zone_holds(z, start, PAGEBLOCK_FRAMES) && oracle.state[start + i] == FREE)
		i++;
	return i == PAGEBLOCK_FRAMES ? NO_TYPE : frames[start].type;
}

/* Is there an aligned run of free frames in pageblocks of the zone that are of the type, or nobody's? */
static bool own_run_exists(const struct zone *z, unsigned order, enum migrate_type type)
{
	uint32_t n = 1u << order;

	for (uint32_t pfn = 0; pfn + n <= NR_FRAMES; pfn += n) {
		uint32_t i = 0;

		while (i < n && zone_holds(z, pfn, n) && oracle.state[pfn + i] == FREE &&
		       (type_at(z, pfn + i) == type || type_at(z, pfn + i) == NO_TYPE))
			i++;
		if (i == n)
			return true;
	}
	return false;
}

static void remember(uint32_t pfn, unsigned order)
{
	assert_true(oracle.n < MAX_BLOCKS);
	oracle.block[oracle.n].pfn = pfn;
	oracle.block[oracle.n++].order = order;
}

static void try_alloc(struct rand *r)
{
	unsigned order = (unsigned)rand_below(r, rand_below(r, NR_ORDERS) + 1);
	enum migrate_type type = rand_below(r, 2) == 0 ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
	bool own[2] = { own_run_exists(&p.zones[0], order, type), own_run_exists(&p.zones[1], order, type) };
	unsigned before[NR_FRAMES / PAGEBLOCK_FRAMES + 1];
	struct frame *f;

	if (oracle.n >= MAX_BLOCKS / 2)
		return;
	for (uint32_t pfn = 0; pfn < NR_FRAMES; pfn += PAGEBLOCK_FRAMES)
		before[pfn / PAGEBLOCK_FRAMES] = type_at(&p.zones[pfn >= p.zones[1].start.n], pfn);
	f = frame_alloc(&p, 0, order, type, ALLOC_RESERVE);
	if (f == NULL) {
		assert_false(type == MIGRATE_MOVABLE && order > 0 ? own[0] || own[1] : run_exists(order));
		return;
	}
	uint32_t pfn = frame_pfn(&p, f).n;

	/* From the other type's only when there was nothing else. */
	if (own[pfn >= p.zones[1].start.n])
		assert_int_not_equal(before[pfn / PAGEBLOCK_FRAMES], !type);
	else
		assert_true(order == 0 || type == MIGRATE_UNMOVABLE);

	assert_int_equal(pfn % (1u << order), 0);
	assert_int_equal(f->refs, 1);
	assert_int_equal(f->flags, 0);
	assert_int_equal(f->zone, pfn >= p.zones[1].start.n);
	paint(pfn, 1u << order, FREE, USED);
	remember(pfn, order);
}

/* Frees a block whole, in halves, or split into frames; in a random order. */
static void free_one(struct rand *r)
{
	unsigned i = (unsigned)rand_below(r, oracle.n);
	uint32_t pfn = oracle.block[i].pfn;
	unsigned order = oracle.block[i].order;
	uint64_t way = rand_below(r, 10);

	oracle.block[i] = oracle.block[--oracle.n];
	if (way == 0 && order > 0) {
		uint32_t upper = (uint32_t)rand_below(r, 2) << (order - 1);

		frame_free(&p, &frames[pfn + upper], order - 1);
		paint(pfn + upper, 1u << (order - 1), USED, FREE);
		remember(pfn + (upper ^ 1u << (order - 1)), order - 1);
	} else if (way == 1 && order <= 4) {
		frame_split(&p, &frames[pfn], order);
		for (uint32_t k = 0; k < 1u << order; k++) {
			assert_int_equal(frames[pfn + k].refs, 1);
			assert_int_equal(frames[pfn + k].zone, pfn >= p.zones[1].start.n);
			remember(pfn + k, 0);
		}
	} else {
		frame_free(&p, &frames[pfn], order);
		paint(pfn, 1u << order, USED, FREE);
	}
}

static void offline_one(struct rand *r)
{
	struct frame *f = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);

	if (f == NULL)
		return;
	uint32_t pfn = frame_pfn(&p, f).n;

	paint(pfn, 1, FREE, USED);
	phys_offline(&p, &f, 1);
	assert_int_equal(f->flags, FRAME_OFFLINE);
	paint(pfn, 1, USED, OFFLINE);
	(void)r;
}

/* Brings back a frame that is offline, with those that follow it in its zone, up to a random number. */
static void online_some(struct rand *r)
{
	const struct zone *z = &p.zones[rand_below(r, 2)];
	uint32_t pfn = z->start.n + (uint32_t)rand_below(r, z->spanned), n = 0;
	uint32_t most = 1 + (uint32_t)rand_below(r, 300);

	while (n < most && zone_holds(z, pfn, n + 1) && oracle.state[pfn + n] == OFFLINE)
		n++;
	if (n > 0)
		online(pfn, n);
}

static void check(void)
{
	uint32_t managed = 0;

	phys_check(&p);
	for (uint32_t i = 0; i < NR_FRAMES; i++)
		managed += oracle.state[i] != OFFLINE;
	for (uint32_t i = 0; i < NR_FRAMES; i += PAGEBLOCK_FRAMES)
		if (type_at(&p.zones[i >= p.zones[1].start.n], i) == NO_TYPE)
			assert_int_equal(frames[i].type, MIGRATE_MOVABLE);
	assert_int_equal(phys_free_frames(&p, 0), oracle.nr_free);
	assert_int_equal(phys_managed_frames(&p, 0), managed);
}

static void blocks_never_overlap_and_an_aligned_free_run_is_always_found(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct rand r;

		make(NULL);
		rand_seed(&r, seed);
		online(ZONE_START, 500);
		online(ZONE_START + 1000, 1900);
		for (int i = 0; i < 30000; i++) {
			uint64_t op = rand_below(&r, 100);

			/* The balance tips every 3000 steps, so that both full and empty machines occur. */
			if (op < 45u + (i / 3000 % 2) * 6)
				try_alloc(&r);
			else if (op < 97 && oracle.n > 0)
				free_one(&r);
			else if (op == 97)
				offline_one(&r);
			else if (op == 98)
				online_some(&r);
			if (i % 16 == 0)
				check();
		}
		while (oracle.n > 0)
			free_one(&r);
		check();
		drop(NULL);
	}
	make(NULL);
}

static void all_frees_merge_back_to_the_largest_blocks(void **state)
{
	static struct frame *held[2048];
	struct rand r;
	unsigned n = 0;

	(void)state;
	rand_seed(&r, 7);
	phys_online(&p, (pfn_t){ ZONE_START }, 1000);
	phys_online(&p, (pfn_t){ ZONE_START + 1000 }, p.zones[1].spanned);

	uint64_t before[2][NR_ORDERS];
	for (unsigned z = 0; z < 2; z++)
		for (unsigned o = 0; o < NR_ORDERS; o++)
			before[z][o] = p.zones[z].area[o].nr_free;

	while (n < ARRAY_SIZE(held) && (held[n] = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE)) != NULL)
		n++;
	for (; n > 0; n--) {
		unsigned i = (unsigned)rand_below(&r, n);

		frame_free(&p, held[i], 0);
		held[i] = held[n - 1];
	}
	phys_check(&p);
	for (unsigned z = 0; z < 2; z++)
		for (unsigned o = 0; o < NR_ORDERS; o++)
			assert_int_equal(p.zones[z].area[o].nr_free, before[z][o]);
}

static void a_fresh_machine_hands_out_adjacent_frames(void **state)
{
	(void)state;
	phys_online(&p, (pfn_t){ 1536 }, 1024);
	for (uint32_t i = 0; i < 1024; i++) {
		struct frame *f = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);

		assert_non_null(f);
		assert_int_equal(frame_pfn(&p, f).n, 1536 + i);
	}
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
}

static struct frame *take(enum migrate_type type)
{
	struct frame *f = frame_alloc(&p, 0, 0, type, ALLOC_RESERVE);

	assert_non_null(f);
	return f;
}

static uint32_t pageblock(const struct frame *f)
{
	return frame_pfn(&p, f).n / PAGEBLOCK_FRAMES;
}

static void types_do_not_share_a_pageblock_while_there_is_another(void **state)
{
	enum migrate_type used[NR_FRAMES / PAGEBLOCK_FRAMES + 1];
	bool seen[NR_FRAMES / PAGEBLOCK_FRAMES + 1] = { false };

	(void)state;
	phys_online(&p, (pfn_t){ 1280 }, 8 * PAGEBLOCK_FRAMES);
	/* Three of four frames are the user's: six pageblocks, and two. */
	for (unsigned i = 0; i < 8 * PAGEBLOCK_FRAMES; i++) {
		enum migrate_type type = i % 4 == 3 ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;
		struct frame *f = take(type);

		assert_true(!seen[pageblock(f)] || used[pageblock(f)] == type);
		seen[pageblock(f)] = true;
		used[pageblock(f)] = type;
	}
	phys_check(&p);
}

/* Four pageblocks, all handed out with one type; all[] in order of address. */
static void take_all(struct frame **all, enum migrate_type type)
{
	phys_online(&p, (pfn_t){ 1280 }, 4 * PAGEBLOCK_FRAMES);
	for (unsigned i = 0; i < 4 * PAGEBLOCK_FRAMES; i++)
		all[i] = take(type);
	assert_null(frame_alloc(&p, 0, 0, type, ALLOC_RESERVE));
}

static void an_unmovable_frame_spoils_one_pageblock_and_not_the_next(void **state)
{
	struct frame *all[4 * PAGEBLOCK_FRAMES];

	(void)state;
	take_all(all, MIGRATE_MOVABLE);
	/* Three frames here, a pair there: the pair is the largest block. */
	for (unsigned i = 0; i < 3; i++)
		frame_free(&p, all[2 * i], 0);
	frame_free(&p, all[PAGEBLOCK_FRAMES + 4], 0);
	frame_free(&p, all[PAGEBLOCK_FRAMES + 5], 0);
	assert_int_equal(pageblock(take(MIGRATE_UNMOVABLE)), pageblock(all[PAGEBLOCK_FRAMES]));
	/* What the user gives back there is not the user's any more, as long as there is something else. */
	frame_free(&p, all[PAGEBLOCK_FRAMES + 20], 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pageblock(take(MIGRATE_MOVABLE)), pageblock(all[0]));
	phys_check(&p);
	assert_int_equal(pageblock(take(MIGRATE_UNMOVABLE)), pageblock(all[PAGEBLOCK_FRAMES]));
	/* But one frame is had wherever it is. */
	assert_int_equal(pageblock(take(MIGRATE_MOVABLE)), pageblock(all[PAGEBLOCK_FRAMES]));
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_UNMOVABLE, ALLOC_RESERVE));
}

/* Everything is UNMOVABLE, and one frame less than half of the first pageblock is free. */
static void take_all_but_almost_half_of_one(struct frame **all)
{
	take_all(all, MIGRATE_UNMOVABLE);
	for (unsigned i = 0; i < PAGEBLOCK_FRAMES / 2 - 1; i++)
		frame_free(&p, all[2 * i], 0);
}

static void an_unmovable_pageblock_changes_sides_when_half_of_it_is_free(void **state)
{
	struct frame *all[4 * PAGEBLOCK_FRAMES];

	(void)state;
	take_all_but_almost_half_of_one(all);
	/* A run is not worth it; a frame that must be had leaves the type as it is. */
	frame_free(&p, all[1], 0);
	assert_null(frame_alloc(&p, 0, 1, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_int_equal(all[0]->type, MIGRATE_UNMOVABLE);
	assert_ptr_equal(take(MIGRATE_MOVABLE), all[0]);
	assert_int_equal(all[0]->type, MIGRATE_MOVABLE);
	phys_check(&p);
	frame_free(&p, all[0], 0);
	assert_non_null(frame_alloc(&p, 0, 1, MIGRATE_MOVABLE, ALLOC_RESERVE));
	phys_check(&p);
}

static void a_pageblock_below_half_is_lent_frame_by_frame(void **state)
{
	struct frame *all[4 * PAGEBLOCK_FRAMES];

	(void)state;
	take_all_but_almost_half_of_one(all);
	for (unsigned i = 0; i < PAGEBLOCK_FRAMES / 2 - 1; i++)
		assert_int_equal(pageblock(take(MIGRATE_MOVABLE)), pageblock(all[0]));
	assert_int_equal(all[0]->type, MIGRATE_UNMOVABLE);
	phys_check(&p);
}

static void a_pageblock_that_comes_back_from_offline_has_no_type(void **state)
{
	struct frame *all[4 * PAGEBLOCK_FRAMES];

	(void)state;
	take_all(all, MIGRATE_UNMOVABLE);
	assert_int_equal(all[0]->type, MIGRATE_UNMOVABLE);
	phys_offline(&p, all, PAGEBLOCK_FRAMES);
	phys_online(&p, (pfn_t){ 1280 }, PAGEBLOCK_FRAMES);
	phys_check(&p);
	assert_ptr_equal(frame_alloc(&p, 0, PAGEBLOCK_ORDER, MIGRATE_MOVABLE, ALLOC_RESERVE), all[0]);
}

static void a_block_likely_to_merge_is_taken_last(void **state)
{
	struct frame *f;

	(void)state;
	phys_online(&p, (pfn_t){ 1280 }, 32);
	f = frame_alloc(&p, 0, 5, MIGRATE_MOVABLE, ALLOC_RESERVE);
	assert_non_null(f);
	frame_split(&p, f, 5);
	frame_free(&p, &f[16], 0);
	frame_free(&p, &f[2], 0);
	frame_free(&p, &f[3], 0);
	/* Freed later than 16, but once 1 is free as well, 0 to 3 are one block. */
	frame_free(&p, &f[0], 0);
	assert_ptr_equal(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE), &f[16]);
	assert_ptr_equal(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE), &f[0]);
	phys_check(&p);
}

static void the_last_freed_frame_is_the_next_one_handed_out(void **state)
{
	struct frame *a, *b;

	(void)state;
	phys_online(&p, (pfn_t){ 1280 }, 32);
	a = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
	b = frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
	assert_non_null(b);
	a->user.vpn.n = 77;
	a->swap.v = 5;
	frame_free(&p, a, 0);
	assert_ptr_equal(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE), a);
	/* … without anything of its last owner. */
	assert_int_equal(a->user.vpn.n, 0);
	assert_true(swp_none(a->swap));
}

static void the_nth_allocation_fails_once_or_from_then_on(void **state)
{
	(void)state;
	phys_online(&p, (pfn_t){ 1280 }, 32);
	p.fail_nth = 3;
	assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_int_equal(p.fail_nth, 0);
	assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	p.fail_nth = 2;
	p.fail_forever = true;
	assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	assert_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
	p.fail_nth = 0;
	assert_non_null(frame_alloc(&p, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE));
}

static void a_double_free_is_caught_also_inside_a_merged_block(void **state)
{
	struct frame *f;

	(void)state;
#ifndef STW_DEBUG
	skip(); /* without DEBUG_ASSERT only the head of a free block is recognised */
#endif
	phys_online(&p, (pfn_t){ 1280 }, 32);
	f = frame_alloc(&p, 0, 1, MIGRATE_MOVABLE, ALLOC_RESERVE);
	frame_split(&p, f, 1);
	frame_free(&p, &f[0], 0);
	frame_free(&p, &f[1], 0);
	for (unsigned i = 0; i < 2; i++)
		assert_true(CAUGHT(frame_free(&p, &f[i], 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blocks_never_overlap_and_an_aligned_free_run_is_always_found, NULL, drop),
		cmocka_unit_test_setup_teardown(all_frees_merge_back_to_the_largest_blocks, make, drop),
		cmocka_unit_test_setup_teardown(a_fresh_machine_hands_out_adjacent_frames, make, drop),
		cmocka_unit_test_setup_teardown(types_do_not_share_a_pageblock_while_there_is_another, make, drop),
		cmocka_unit_test_setup_teardown(an_unmovable_frame_spoils_one_pageblock_and_not_the_next, make, drop),
		cmocka_unit_test_setup_teardown(an_unmovable_pageblock_changes_sides_when_half_of_it_is_free, make, drop),
		cmocka_unit_test_setup_teardown(a_pageblock_below_half_is_lent_frame_by_frame, make, drop),
		cmocka_unit_test_setup_teardown(a_pageblock_that_comes_back_from_offline_has_no_type, make, drop),
		cmocka_unit_test_setup_teardown(a_block_likely_to_merge_is_taken_last, make, drop),
		cmocka_unit_test_setup_teardown(the_last_freed_frame_is_the_next_one_handed_out, make, drop),
		cmocka_unit_test_setup_teardown(the_nth_allocation_fails_once_or_from_then_on, make, drop),
		cmocka_unit_test_setup_teardown(a_double_free_is_caught_also_inside_a_merged_block, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Slabs that become chunks: the blocks in them keep their bytes and their size, what lies between serves other sizes, and
 * with the last block everything is as before. Beside heaps without it, which hold each size's peak.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/control.h"
#include "malloc/pagemap.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_BLOCKS 60000

static uint8_t *blocks[NR_BLOCKS], *others[NR_BLOCKS];

static uint8_t *block_new(size_t bytes, unsigned seed)
{
	uint8_t *mem = stw_malloc(bytes);

	assert_non_null(mem);
	memset(mem, (int)(seed & 0xff), bytes);
	return mem;
}

static void block_free(uint8_t *mem, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		if (mem[i] != (seed & 0xff))
			fail_msg("byte %zu of a block of %zu is lost", i, bytes);
	stw_free(mem);
}

/* n blocks, of which one in twenty stays, at random. */
static void survivors(uint8_t **mem, unsigned n, size_t bytes)
{
	struct rand r;

	rand_seed(&r, bytes);
	for (unsigned i = 0; i < n; i++)
		mem[i] = block_new(bytes, i);
	for (unsigned i = 0; i < n; i++)
		if (rand_below(&r, 20) != 0) {
			block_free(mem[i], bytes, i);
			mem[i] = NULL;
		}
}

static void free_all(uint8_t **mem, unsigned n, size_t bytes)
{
	for (unsigned i = 0; i < n; i++)
		if (mem[i] != NULL) {
			block_free(mem[i], bytes, i);
			mem[i] = NULL;
		}
}

/* The first call only notes who asks no more. */
static void dissolve(void)
{
	struct tcache *t = tcache_get();

	tcache_dissolve(t, 1);
	tcache_dissolve(t, 1);
	malloc_check();
}

static void all_is_as_before(void)
{
	dissolve();
	stw_malloc_trim(0);
	malloc_check();
	testsrc_check_discarded();
	assert_int_equal(main_arena.dissolved, 0);
}

/* Each size's slots are larger than all before, so that nothing but holes between survivors can take them. */
static void a_heap_whose_sizes_shift_holds_little_more_than_what_is_live(void **state)
{
	enum { SIZES = 6, BYTES = 8 << 20 };
	static uint8_t *live[SIZES][BYTES / 64];
	size_t bytes[SIZES] = { 64, 96, 144, 224, 320, 480 }, before = testsrc_pages();

	(void)state;
	for (unsigned i = 0; i < SIZES; i++)
		survivors(live[i], (unsigned)(BYTES / bytes[i]), bytes[i]);
	/* Live were 10 MiB at most; six times 8 MiB are held by slabs that nobody dissolves. */
	assert_in_range(testsrc_pages() - before, 1, 18 << (20 - PAGE_SHIFT));
	assert_true(main_arena.dissolved != 0);
	malloc_check();
	for (unsigned i = SIZES; i-- > 0;)
		free_all(live[i], (unsigned)(BYTES / bytes[i]), bytes[i]);
	all_is_as_before();
}

static void holes_serve_other_sizes(void **state)
{
	size_t held;

	(void)state;
	survivors(blocks, NR_BLOCKS, 64);
	stw_free(stw_malloc(200));
	dissolve();
	assert_true(main_arena.dissolved != 0);
	held = testsrc_pages();
	for (unsigned i = 0; i < NR_BLOCKS / 5; i++)
		others[i] = block_new(200, i);
	/* They take 2.3 MiB of the 3.7 that were freed. */
	assert_in_range(testsrc_pages() - held, 0, (1 << 20) / PAGE_SIZE);
	malloc_check();
	free_all(others, NR_BLOCKS / 5, 200);
	malloc_check();
	free_all(blocks, NR_BLOCKS, 64);
	all_is_as_before();
}

/* Where slots of a stretch are freed one after the other, in any order, neighbours survive. */
static void blocks_side_by_side_go_one_by_one(void **state)
{
	static const size_t sizes[] = { 16, 32, 48, 512, 4096, 8192 };

	(void)state;
	for (unsigned size = 0; size < ARRAY_SIZE(sizes); size++) {
		enum { N = 4000 };
		size_t bytes = sizes[size];
		struct rand r;

		rand_seed(&r, size);
		for (unsigned i = 0; i < N; i++)
			blocks[i] = block_new(bytes, i);
		for (unsigned i = 0; i < N; i++)
			if (i % 37 > rand_below(&r, 4)) {
				block_free(blocks[i], bytes, i);
				blocks[i] = NULL;
			}
		dissolve();
		if (bytes < 4096)
			assert_true(main_arena.dissolved != 0);
		for (unsigned left = N; left > 0; left--) {
			unsigned i = (unsigned)rand_below(&r, N);

			if (blocks[i] != NULL)
				block_free(blocks[i], bytes, i);
			blocks[i] = NULL;
			if (left % 64 == 0)
				malloc_check();
		}
		free_all(blocks, N, bytes);
		all_is_as_before();
	}
}

/* The smallest slots, and the second the first in use: no chunk fits before it. */
static void a_slab_without_room_for_a_chunk_is_left_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20000; i++)
		blocks[i] = block_new(16, i);
	for (unsigned i = 0; i < 20000; i++)
		if (slab_index(pagemap_slab(blocks[i]), blocks[i]) % 64 != 1) {
			block_free(blocks[i], 16, i);
			blocks[i] = NULL;
		}
	dissolve();
	assert_int_equal(main_arena.dissolved, 0);
	free_all(blocks, 20000, 16);
	all_is_as_before();
}

static void a_block_stays_what_it_was(void **state)
{
	uint8_t *survivor = NULL, *hole = NULL, *moved;
	const struct slab *s;
	size_t usable;

	(void)state;
	survivors(blocks, NR_BLOCKS, 100);
	stw_free(stw_malloc(300));
	dissolve();
	for (unsigned i = 0; i < NR_BLOCKS && survivor == NULL; i++)
		if (blocks[i] != NULL && slab_is_dissolved(pagemap_slab(blocks[i])))
			survivor = blocks[i];
	assert_non_null(survivor);
	assert_int_equal(stw_malloc_usable_size(survivor), 112);
	s = slab_of_slot(survivor);
	assert_non_null(s);
	assert_ptr_equal(slab_of_slot(survivor + 16), s);
	assert_ptr_equal(stw_realloc(survivor, 110), survivor);
	memset(survivor + 100, survivor[0], 10);
	for (unsigned i = 0; i < NR_BLOCKS / 5; i++) {
		others[i] = stw_calloc(3, 100);
		for (size_t j = 0; j < 300; j++)
			assert_int_equal(others[i][j], 0);
		memset(others[i], (int)(i & 0xff), 300);
		s = pagemap_slab(others[i]);
		if (hole == NULL && s != NULL && slab_is_dissolved(s)) {
			assert_null(slab_of_slot(others[i]));
			hole = others[i];
			others[i] = NULL;
		}
	}
	assert_non_null(hole);
	usable = stw_malloc_usable_size(hole);
	assert_in_range(usable, 300, 2 * PAGE_SIZE);
	memset(hole, 7, usable);
	moved = stw_realloc(hole, 3000);
	for (size_t i = 0; i < usable; i++)
		assert_int_equal(moved[i], 7);
	stw_free_sized(moved, 3000);
	/* An aligned request has an aligned slot, also while holes would be large enough. */
	for (unsigned i = 0; i < 1000; i++) {
		hole = stw_memalign(256, 200);
		assert_int_equal((uintptr_t)hole % 256, 0);
		stw_free_aligned_sized(hole, 256, 200);
	}
	free_all(others, NR_BLOCKS / 5, 300);
	free_all(blocks, NR_BLOCKS, 100);
	all_is_as_before();
}

/* Holes cost a lock each time: a size that comes again and again has slots. */
static void a_size_in_use_gets_slots(void **state)
{
	unsigned steps = 0;
	bool is_slot = false;

	(void)state;
	survivors(blocks, NR_BLOCKS, 64);
	stw_free(stw_malloc(200));
	stw_malloc_trim(0);
	dissolve();
	for (; !is_slot && steps < 10000; steps++) {
		uint8_t *mem = stw_malloc(200);

		is_slot = slab_of_slot(mem) != NULL;
		stw_free(mem);
	}
	assert_true(is_slot);
	free_all(blocks, NR_BLOCKS, 64);
	all_is_as_before();
}

static void slabs_in_use_are_left_alone(void **state)
{
	(void)state;
	/* Every second slot is too much; */
	for (unsigned i = 0; i < 6000; i++)
		blocks[i] = block_new(64, i);
	for (unsigned i = 0; i < 6000; i += 2) {
		block_free(blocks[i], 64, i);
		blocks[i] = NULL;
	}
	dissolve();
	assert_in_range(main_arena.dissolved, 0, 1); /* not all of the last slab was handed out */
	free_all(blocks, 6000, 64);
	all_is_as_before();
	/* and who has asked since the last call may ask again. */
	survivors(blocks, NR_BLOCKS, 64);
	tcache_dissolve(tcache_get(), 1);
	assert_int_equal(main_arena.dissolved, 0);
	free_all(blocks, NR_BLOCKS, 64);
	all_is_as_before();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slabs_in_use_are_left_alone),
		cmocka_unit_test(holes_serve_other_sizes),
		cmocka_unit_test(a_heap_whose_sizes_shift_holds_little_more_than_what_is_live),
		cmocka_unit_test(blocks_side_by_side_go_one_by_one),
		cmocka_unit_test(a_slab_without_room_for_a_chunk_is_left_alone),
		cmocka_unit_test(a_block_stays_what_it_was),
		cmocka_unit_test(a_size_in_use_gets_slots),
	};

	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}

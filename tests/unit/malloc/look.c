/* stw_heap_map and the figures of heap_stat, against a list of the blocks that are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/heapstat.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_BLOCKS 2000
#define REGIONS_MAX 20000

static void *blocks[NR_BLOCKS];
static struct stw_heap_region regions[REGIONS_MAX];
static size_t nr_regions;

static size_t random_size(struct rand *r)
{
	static const size_t most[] = { 100, 1000, 8192, 30000, 100000, 1000000 };

	return rand_below(r, most[rand_below(r, ARRAY_SIZE(most))]);
}

static void random_steps(struct rand *r, unsigned steps)
{
	while (steps-- > 0) {
		void **b = &blocks[rand_below(r, NR_BLOCKS)];

		if (*b == NULL)
			*b = rand_below(r, 8) == 0 ? stw_memalign(4096, random_size(r)) : stw_malloc(random_size(r));
		else if (rand_below(r, 4) == 0)
			*b = stw_realloc(*b, random_size(r) + 1);
		else {
			stw_free(*b);
			*b = NULL;
		}
	}
}

static void keep(void *ctx, const struct stw_heap_region *region)
{
	assert_null(ctx);
	assert_true(nr_regions < REGIONS_MAX);
	regions[nr_regions++] = *region;
}

static int by_address(const void *a, const void *b)
{
	const struct stw_heap_region *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void take_map(void)
{
	nr_regions = 0;
	stw_heap_map(keep, NULL);
	qsort(regions, nr_regions, sizeof(regions[0]), by_address);
	for (size_t i = 0; i + 1 < nr_regions; i++)
		assert_true((uintptr_t)regions[i].addr + regions[i].bytes <= (uintptr_t)regions[i + 1].addr);
}

static struct stw_heap_region *region_of(const void *mem, size_t bytes)
{
	for (size_t i = 0; i < nr_regions; i++) {
		uintptr_t lo = (uintptr_t)regions[i].addr, hi = lo + regions[i].bytes;

		/* The last 8 bytes of a chunk lie in the next. */
		if ((uintptr_t)mem >= lo && (uintptr_t)mem + bytes <= hi + CHUNK_OVERHEAD)
			return &regions[i];
	}
	return NULL;
}

static size_t sum(enum stw_heap_kind kind)
{
	size_t bytes = 0;

	for (size_t i = 0; i < nr_regions; i++)
		if (regions[i].kind == kind)
			bytes += regions[i].bytes;
	return bytes;
}

/* Each block is where the map has something in use, and in slabs no more slots are used than have blocks or are cached. */
static void check_blocks(void)
{
	size_t cached = 0, used = 0, live = 0;
	struct tcache_count n;

	for (size_t i = 0; i < NR_BLOCKS; i++) {
		struct stw_heap_region *r;

		/* A block of no bytes takes no memory and is in no region. */
		if (blocks[i] == NULL || stw_malloc_usable_size(blocks[i]) == 0)
			continue;
		r = region_of(blocks[i], stw_malloc_usable_size(blocks[i]));
		assert_non_null(r);
		assert_true(r->kind == STW_HEAP_USED || r->kind == STW_HEAP_SLAB || r->kind == STW_HEAP_MAPPED);
		if (r->kind == STW_HEAP_SLAB) {
			assert_int_equal(stw_malloc_usable_size(blocks[i]), r->slot_bytes);
			live++;
		}
		if (r->kind == STW_HEAP_MAPPED) {
			assert_ptr_equal(r->addr, blocks[i]);
			assert_int_equal(r->bytes, stw_malloc_usable_size(blocks[i]));
		}
	}
	for (size_t i = 0; i < nr_regions; i++)
		used += regions[i].slots_used;
	tcache_count(&n);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		cached += n.slots[class];
	assert_int_equal(used, live + cached);
}

static void check_sums(void)
{
	struct stw_mallinfo2 m = stw_mallinfo2();
	struct heap_stat s;
	size_t slots = 0, mapped = 0, heap;

	heap_stat(&s);
	for (size_t i = 0; i < nr_regions; i++) {
		slots += regions[i].slots;
		mapped += regions[i].kind == STW_HEAP_MAPPED;
	}
	for (unsigned class = 0; class < NR_CLASSES; class++)
		slots -= s.sum.classes[class].slots;
	assert_int_equal(slots, 0);
	assert_int_equal(mapped, m.hblks);
	/* But for what stands before the first chunk of a segment and behind its last. */
	heap = sum(STW_HEAP_USED) + sum(STW_HEAP_FREE) + sum(STW_HEAP_SLAB) + sum(STW_HEAP_TOP);
	assert_true(heap <= m.arena && heap + 64 * KIB > m.arena);
	assert_int_equal(s.sum.bytes, m.arena);
	assert_int_equal(s.used_bytes, m.uordblks + m.hblkhd);
	assert_true(s.used_bytes < s.held_bytes);
}

static void the_map_has_every_block_once(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 42);
	for (unsigned round = 0; round < 40; round++) {
		random_steps(&r, 500);
		take_map();
		check_blocks();
		check_sums();
	}
}

static void figures_fall_when_all_is_freed(void **state)
{
	struct heap_stat before, after;

	(void)state;
	heap_stat(&before);
	for (size_t i = 0; i < NR_BLOCKS; i++) {
		stw_free(blocks[i]);
		blocks[i] = NULL;
	}
	take_map();
	assert_int_equal(sum(STW_HEAP_MAPPED), 0);
	stw_malloc_trim(0);
	take_map();
	assert_int_equal(sum(STW_HEAP_SLAB), 0);
	heap_stat(&after);
	assert_true(after.used_bytes * 100 < before.used_bytes);
	assert_int_equal(after.caches.blocks, 0);
	assert_int_equal(after.mapped_max, before.mapped_max);
}

static void json_that_does_not_fit_is_none(void **state)
{
	char buf[65536], again[65536];
	size_t len = stw_malloc_stats_json(buf, sizeof(buf));

	(void)state;
	assert_int_equal(len, strlen(buf));
	assert_int_equal(stw_malloc_stats_json(again, len + 2), len);
	assert_int_equal(stw_malloc_stats_json(again, len), 0);
	assert_int_equal(stw_malloc_stats_json(again, 1), 0);
	assert_int_equal(stw_malloc_stats_json(again, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_map_has_every_block_once),
		cmocka_unit_test(figures_fall_when_all_is_freed),
		cmocka_unit_test(json_that_does_not_fit_is_none),
	};

	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}

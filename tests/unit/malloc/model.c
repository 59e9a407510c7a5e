/*
 * malloc/: random operations against a model that knows each block's bytes and
 * bounds, over a source that makes discarded pages inaccessible.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_SLOTS 300

struct slot {
	uint8_t *mem;
	size_t bytes; /* that the model wrote: up to the usable size */
	uint8_t seed;
};

static struct slot slots[NR_SLOTS];

static uint8_t pattern(const struct slot *s, size_t i)
{
	return (uint8_t)(s->seed + i * 31 + (i >> 8));
}

static void fill(struct slot *s, size_t from)
{
	for (size_t i = from; i < s->bytes; i++)
		s->mem[i] = pattern(s, i);
}

static void verify(const struct slot *s, const uint8_t *mem, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (mem[i] != pattern(s, i))
			fail_msg("byte %zu of a block of %zu is lost", i, s->bytes);
}

/* s is new: as large and aligned as asked for, and on nobody's bytes. */
static void check_new(const struct slot *s, size_t asked, size_t align)
{
	assert_non_null(s->mem);
	assert_int_equal((uintptr_t)s->mem % align, 0);
	assert_true(stw_malloc_usable_size(s->mem) >= asked);
	for (const struct slot *o = slots; o < slots + NR_SLOTS; o++)
		if (o != s && o->mem != NULL)
			assert_true(o->mem + o->bytes <= s->mem || s->mem + s->bytes <= o->mem);
}

static size_t random_size(struct rand *r)
{
	switch (rand_below(r, 16)) {
	case 0:
		return rand_below(r, 8);
	case 1 ... 8:
		return rand_below(r, 600);
	case 9 ... 12:
		return rand_below(r, 20000);
	case 13 ... 14:
		return rand_below(r, 100000);
	default:
		return rand_below(r, 400000);
	}
}

static void slot_new(struct slot *s, struct rand *r)
{
	size_t asked = random_size(r), align = 16;

	switch (rand_below(r, 8)) {
	case 0:
		s->mem = stw_calloc(asked, 1);
		for (size_t i = 0; i < asked; i++)
			assert_int_equal(s->mem[i], 0);
		break;
	case 1:
		align = (size_t)16 << rand_below(r, 11);
		s->mem = stw_memalign(align, asked);
		break;
	default:
		s->mem = stw_malloc(asked);
	}
	s->bytes = s->mem != NULL ? stw_malloc_usable_size(s->mem) : 0;
	s->seed = (uint8_t)rand_u64(r);
	check_new(s, asked, align);
	fill(s, 0);
}

static void slot_resize(struct slot *s, struct rand *r)
{
	size_t asked = 1 + (rand_below(r, 2) != 0 ? random_size(r) : rand_below(r, 2 * s->bytes + 1)), old = s->bytes;
	uint8_t *mem = stw_realloc(s->mem, asked);

	assert_non_null(mem);
	verify(s, mem, MIN(old, asked));
	s->mem = mem;
	s->bytes = stw_malloc_usable_size(mem);
	check_new(s, asked, 16);
	fill(s, 0);
}

static void slot_free(struct slot *s)
{
	assert_int_equal(stw_malloc_usable_size(s->mem), s->bytes);
	verify(s, s->mem, s->bytes);
	errno = 4711;
	stw_free(s->mem);
	assert_int_equal(errno, 4711);
	s->mem = NULL;
}

static void check_all(void)
{
	malloc_check();
	testsrc_check_discarded();
}

static void free_all(void)
{
	for (unsigned i = 0; i < NR_SLOTS; i++)
		if (slots[i].mem != NULL)
			slot_free(&slots[i]);
	check_all();
}

static void run(uint64_t seed, unsigned steps)
{
	struct rand r;

	rand_seed(&r, seed);
	for (unsigned i = 0; i < steps; i++) {
		struct slot *s = &slots[rand_below(&r, NR_SLOTS)];

		if (s->mem == NULL)
			slot_new(s, &r);
		else if (rand_below(&r, 3) == 0)
			slot_resize(s, &r);
		else
			slot_free(s);
		if (rand_below(&r, 500) == 0)
			stw_malloc_trim(rand_below(&r, 3) * 10000);
		if (rand_below(&r, 50) == 0 && tcache_own != NULL)
			for (unsigned looks = 0; looks < 2; looks++)
				tcache_dissolve(tcache_own, 1);
		if (rand_below(&r, 300) == 0)
			testsrc_steal_break(rand_below(&r, 10000));
		malloc_check();
		if (i % 64 == 0)
			testsrc_check_discarded();
	}
}

/* Set-up and teardown of tests that look at the arena alone. */
static int without_caches(void **unused)
{
	(void)unused;
	tcache_enable(false);
	return 0;
}

static int with_caches(void **unused)
{
	(void)unused;
	tcache_enable(true);
	return 0;
}

static void random_operations_keep_every_byte(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		run(seed, 1000);
		free_all();
	}
}

static void random_operations_in_heaps_when_brk_is_refused(void **state)
{
	(void)state;
	stw_mallopt(-3, 1 << 20); /* M_MMAP_THRESHOLD: large blocks into heaps */
	testsrc_refuse_break();
	run(77, 1500);
	free_all();
}

static void empty_heaps_go_back(void **state)
{
	(void)state;
	/* More than one heap at a time, and back. */
	for (unsigned i = 0; i < 100; i++) {
		slots[i].mem = stw_malloc(900000);
		slots[i].bytes = stw_malloc_usable_size(slots[i].mem);
		fill(&slots[i], 0);
	}
	check_all();
	assert_true(testsrc_pages() > 100 * 900000 / PAGE_SIZE);
	free_all();
	assert_true(testsrc_pages() < 60 * 900000 / PAGE_SIZE);
}

static void a_small_block_between_two_free_ones_merges_them(void **state)
{
	uint8_t *a = stw_malloc(30000), *b = stw_malloc(40), *c = stw_malloc(30000), *fence = stw_malloc(40);
	size_t before;

	(void)state;
	stw_free(a);
	stw_free(c);
	before = testsrc_discarded();
	check_all();
	stw_free(b);
	check_all();
	/* The page with b, and what the links and the footer kept on both sides. */
	assert_true(testsrc_discarded() > before);
	assert_ptr_equal(stw_malloc(60000), a);
	check_all();
	stw_free(a);
	stw_free(fence);
}

static void best_fit_takes_the_smallest_chunk_that_is_large_enough(void **state)
{
	static const size_t sizes[] = { 5000, 3000, 9000, 4000, 4016, 70000 };
	void *mem[ARRAY_SIZE(sizes)], *fence[ARRAY_SIZE(sizes)], *p;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		mem[i] = stw_malloc(sizes[i]);
		fence[i] = stw_malloc(24);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		stw_free(mem[i]);
	stw_free(stw_malloc(200000)); /* sorts */
	p = stw_malloc(4012);
	assert_ptr_equal(p, mem[4]);
	stw_free(p);
	p = stw_malloc(3900);
	assert_ptr_equal(p, mem[3]);
	stw_free(p);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		stw_free(fence[i]);
	check_all();
}

static void small_requests_are_cut_from_one_remainder_in_a_row(void **state)
{
	uint8_t *hole = stw_malloc(50000), *fence = stw_malloc(24), *p, *q;

	(void)state;
	stw_free(hole);
	stw_free(stw_malloc(200000));
	p = stw_malloc(500);
	q = stw_malloc(500);
	assert_ptr_equal(q, p + 512);
	stw_free(p);
	stw_free(q);
	stw_free(fence);
}

static void bin_indexes_are_those_of_the_classical_layout(void **state)
{
	static const struct {
		size_t size;
		unsigned index;
	} known[] = {
		{ 32, 2 }, { 1008, 63 }, { 1024, 64 }, { 3120, 96 }, { 3136, 97 }, { 3568, 97 }, { 10736, 111 }, { 10752, 112 },
		{ 12272, 112 }, { 40960, 120 }, { 65520, 120 }, { 131072, 123 }, { 163824, 123 }, { 163840, 124 },
		{ 262128, 124 }, { 262144, 125 }, { 524272, 125 }, { 524288, 126 }, { (size_t)1 << 40, 126 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(bin_index(known[i].size), known[i].index);
}

static void calloc_clears_pages_that_were_revived(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		size_t bytes = 1000 + i * 2500;
		uint8_t *p = stw_malloc(bytes), *q;

		memset(p, 0xee, bytes);
		stw_free(p);
		q = stw_calloc(1, bytes);
		for (size_t j = 0; j < bytes; j++)
			assert_int_equal(q[j], 0);
		stw_free(q);
	}
	check_all();
}

static void the_threshold_follows_freed_mappings(void **state)
{
	struct stw_mallinfo2 m;
	void *p = stw_malloc(300000);

	(void)state;
	assert_int_equal(stw_mallinfo2().hblks, 1);
	stw_free(p);
	p = stw_malloc(299000);
	m = stw_mallinfo2();
	assert_int_equal(m.hblks, 0);
	stw_free(p);
	p = stw_malloc((size_t)40 << 20);
	assert_int_equal(stw_mallinfo2().hblks, 1);
	stw_free(p);
	assert_int_equal(stw_mallinfo2().hblks, 0);
}

static void trim_returns_the_top_and_statistics_add_up(void **state)
{
	struct stw_mallinfo2 before, m;
	void *mem[100];
	size_t peak;

	(void)state;
	stw_malloc_trim(0);
	before = stw_mallinfo2();
	for (unsigned i = 0; i < 100; i++)
		memset(mem[i] = stw_malloc(60000), 1, 60000);
	peak = testsrc_pages();
	for (unsigned i = 0; i < 100; i++)
		stw_free(mem[i]);
	stw_malloc_trim(0);
	check_all();
	assert_true(testsrc_pages() + 1400 < peak);
	m = stw_mallinfo2();
	assert_int_equal(m.arena, m.uordblks + m.fordblks);
	assert_int_equal(m.uordblks, before.uordblks);
}

static void a_large_block_moves_without_a_copy_of_the_heap(void **state)
{
	struct slot *s = &slots[0];

	(void)state;
	s->mem = stw_malloc((size_t)33 << 20);
	s->bytes = stw_malloc_usable_size(s->mem);
	s->seed = 9;
	fill(s, 0);
	s->mem = stw_realloc(s->mem, (size_t)50 << 20);
	assert_int_equal(stw_mallinfo2().hblks, 1);
	verify(s, s->mem, (size_t)33 << 20);
	s->mem = stw_realloc(s->mem, 5000);
	s->bytes = stw_malloc_usable_size(s->mem);
	slot_free(s);
	check_all();
}

/* Blocks, trailers, the quarantine: the bytes between them are as safe. */
static int run_secure(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calloc_clears_pages_that_were_revived),
		cmocka_unit_test(random_operations_keep_every_byte),
		cmocka_unit_test(random_operations_in_heaps_when_brk_is_refused),
	};

	malloc_secure();
	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "secure") == 0)
		return run_secure();

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bin_indexes_are_those_of_the_classical_layout),
		cmocka_unit_test(the_threshold_follows_freed_mappings),
		cmocka_unit_test_setup_teardown(a_small_block_between_two_free_ones_merges_them, without_caches, with_caches),
		cmocka_unit_test_setup_teardown(best_fit_takes_the_smallest_chunk_that_is_large_enough, without_caches, with_caches),
		cmocka_unit_test_setup_teardown(small_requests_are_cut_from_one_remainder_in_a_row, without_caches, with_caches),
		cmocka_unit_test(calloc_clears_pages_that_were_revived),
		cmocka_unit_test(trim_returns_the_top_and_statistics_add_up),
		cmocka_unit_test(a_large_block_moves_without_a_copy_of_the_heap),
		cmocka_unit_test(random_operations_keep_every_byte),
		cmocka_unit_test_setup_teardown(random_operations_keep_every_byte, without_caches, with_caches),
		cmocka_unit_test(random_operations_in_heaps_when_brk_is_refused),
		cmocka_unit_test(empty_heaps_go_back),
	};
	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}

/*
 * mm/backing/filera.c: windows worked out by hand from the rules of Linux 6.12,
 * and readers whose plans are carried out against a page cache.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/backing/filera.h"
#include "mm/backing/pagecache.h"

#include "../memory.h"

struct world {
	struct memory mem;
	struct pagecache cache;
	struct vm_file file;
	struct file_ra *ra;
	struct rand rand;
	uint64_t waits, fetched; /* steps of a read that found nothing, pages read */
};

static struct world w;

static void world_make(uint64_t size_pages, uint32_t ra_pages, uint32_t io_pages)
{
	memset(&w, 0, sizeof(w));
	memory_make(&w.mem, 8192);
	assert_int_equal(pagecache_init(&w.cache, &w.mem.phys), 0);
	vm_file_init(&w.file, &w.cache, size_pages);
	w.ra = &w.file.ra;
	filera_init(w.ra, ra_pages, io_pages);
	rand_seed(&w.rand, size_pages);
}

static void drop(void *ctx, struct frame *frame)
{
	(void)ctx;
	frame_free(&w.mem.phys, frame, 0);
}

static void world_end(void)
{
	pagecache_check(&w.cache);
	pagecache_truncate(&w.file, 0, drop, NULL);
	vm_file_destroy(&w.file);
	pagecache_destroy(&w.cache);
	memory_end(&w.mem);
}

static void fetch(uint64_t start, uint64_t n, uint64_t mark)
{
	for (uint64_t at = start; at < start + n; at++) {
		struct frame *frame;

		if (pagecache_get(&w.file, at) != NULL)
			continue;
		frame = frame_alloc(&w.mem.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
		assert_non_null(frame);
		assert_int_equal(pagecache_add(&w.file, at, frame, NULL), 0);
		if (at == mark)
			frame->flags |= FRAME_READAHEAD;
		w.fetched++;
	}
}

static void carry_out(const struct filera_plan *plan)
{
	filera_check(w.ra);
	if (plan->n == 0)
		return;
	assert_true(plan->start + plan->n <= w.file.size_pages);
	assert_true(plan->n <= w.ra->io_pages || plan->n == 1);
	assert_true(plan->mark == FILERA_NO_MARK || plan->mark - plan->start < plan->n);
	fetch(plan->start, plan->n, plan->mark);
}

/* A whole read(2). */
static void reads(uint64_t pgoff, uint64_t n, enum filera_hint hint)
{
	struct filera_plan plan;
	unsigned steps = 0;

	while (n > 0) {
		uint64_t done = filera_read(w.ra, &w.file, pgoff, n, hint, &plan);

		assert_true(done <= n && ++steps < 1000);
		if (done == 0) {
			assert_true(pgoff >= plan.start && pgoff < plan.start + plan.n);
			w.waits++;
		}
		carry_out(&plan);
		pgoff += done;
		n -= done;
	}
}

static void assert_plan(const struct filera_plan *plan, uint64_t start, uint64_t n, uint64_t mark)
{
	assert_int_equal(plan->n, n);
	if (n == 0)
		return;
	assert_int_equal(plan->start, start);
	assert_int_equal(plan->mark, mark);
}

/* One step of a read: how many pages it finds, and what is to be read. */
static void step(uint64_t pgoff, uint64_t n, uint64_t done, uint64_t start, uint64_t pages, uint64_t mark)
{
	struct filera_plan plan;

	assert_int_equal(filera_read(w.ra, &w.file, pgoff, n, FILERA_NORMAL, &plan), done);
	assert_plan(&plan, start, pages, mark);
	carry_out(&plan);
}

#define NOTHING 0, 0, FILERA_NO_MARK

static void a_sequential_reader_gets_windows_that_grow(void **state)
{
	(void)state;
	world_make(1000, 32, 0);
	step(0, 1, 0, 0, 4, 1);
	step(0, 1, 1, NOTHING);
	step(1, 1, 1, 4, 8, 4);
	step(2, 1, 1, NOTHING);
	step(3, 1, 1, NOTHING);
	step(4, 1, 1, 12, 16, 12);
	for (uint64_t at = 5; at < 12; at++)
		step(at, 1, 1, NOTHING);
	step(12, 1, 1, 28, 32, 28);
	for (uint64_t at = 13; at < 28; at++)
		step(at, 1, 1, NOTHING);
	step(28, 1, 1, 60, 32, 60);
	world_end();
}

static void larger_requests_begin_with_larger_windows(void **state)
{
	(void)state;
	world_make(1000, 32, 0);
	step(0, 4, 0, 0, 8, 4);
	step(0, 4, 4, NOTHING);
	/* The mark is met with the first page; the rest of the request comes in the next step. */
	step(4, 4, 1, 8, 16, 8);
	step(5, 3, 3, NOTHING);
	step(8, 4, 1, 24, 32, 24);
	world_end();

	world_make(1000, 32, 0);
	step(0, 9, 0, 0, 32, 9);
	world_end();
}

static void a_request_larger_than_a_window_is_cut_in_windows(void **state)
{
	(void)state;
	world_make(1000, 32, 0);
	step(0, 128, 0, 0, 32, 16);
	step(0, 128, 17, 32, 32, 32);
	step(17, 111, 16, 64, 32, 64);
	world_end();

	/* … or goes up to what the device takes at once. */
	world_make(1000, 32, 64);
	step(0, 128, 0, 0, 64, 32);
	step(0, 128, 33, 64, 64, 64);
	world_end();
}

static void random_reads_read_what_they_ask_for(void **state)
{
	(void)state;
	world_make(100000, 32, 0);
	step(500, 1, 0, 500, 1, FILERA_NO_MARK);
	step(70000, 3, 0, 70000, 3, FILERA_NO_MARK);
	step(300, 2, 0, 300, 2, FILERA_NO_MARK);
	assert_int_equal(w.ra->size, 0);
	/* Where the last read ended, the next one is sequential. */
	step(300, 2, 2, NOTHING);
	step(302, 2, 0, 302, 4, 304);
	world_end();
}

static void cached_pages_before_a_miss_tell_of_a_stream(void **state)
{
	(void)state;
	world_make(1000, 32, 0);
	fetch(110, 10, FILERA_NO_MARK);
	step(120, 1, 0, 120, 11, 130);
	world_end();

	world_make(1000, 32, 0);
	fetch(0, 5, FILERA_NO_MARK);
	step(5, 1, 0, 5, 11, 15);
	world_end();

	/* Not more of them than the request: chance. */
	world_make(1000, 32, 0);
	fetch(110, 10, FILERA_NO_MARK);
	step(120, 10, 0, 120, 10, FILERA_NO_MARK);
	world_end();
}

static void the_mark_of_another_reader_is_followed(void **state)
{
	(void)state;
	world_make(1000, 32, 0);
	fetch(100, 8, 100);
	/* 7 cached pages behind it, itself, and the request: 9, twice that. */
	step(100, 1, 1, 108, 18, 108);
	world_end();

	/* All of a window is there already. */
	world_make(1000, 32, 0);
	fetch(100, 33, 100);
	step(100, 1, 1, NOTHING);
	assert_false(pagecache_get(&w.file, 100)->flags & FRAME_READAHEAD);
	world_end();
}

static void nothing_is_read_beyond_the_end(void **state)
{
	(void)state;
	world_make(10, 32, 0);
	step(0, 1, 0, 0, 4, 1);
	/* Six pages of eight, and no place for the mark. */
	step(1, 1, 1, 4, 6, FILERA_NO_MARK);
	step(2, 8, 8, NOTHING);
	world_end();
}

static void hints_and_no_read_ahead(void **state)
{
	struct filera_plan plan;

	(void)state;
	world_make(1000, 32, 0);
	assert_int_equal(filera_read(w.ra, &w.file, 0, 3, FILERA_RANDOM, &plan), 0);
	assert_plan(&plan, 0, 3, FILERA_NO_MARK);
	filera_fault(w.ra, &w.file, 100, FILERA_RANDOM, &plan);
	assert_plan(&plan, NOTHING);
	filera_fault(w.ra, &w.file, 0, FILERA_SEQUENTIAL, &plan);
	assert_plan(&plan, 0, 32, 16);
	world_end();

	world_make(1000, 0, 0);
	assert_int_equal(filera_read(w.ra, &w.file, 0, 3, FILERA_NORMAL, &plan), 0);
	assert_plan(&plan, 0, 1, FILERA_NO_MARK);
	filera_fault(w.ra, &w.file, 100, FILERA_NORMAL, &plan);
	assert_plan(&plan, NOTHING);
	world_end();
}

static void a_fault_reads_around(void **state)
{
	struct filera_plan plan;

	(void)state;
	world_make(1000, 32, 0);
	filera_fault(w.ra, &w.file, 100, FILERA_NORMAL, &plan);
	assert_plan(&plan, 84, 32, 108);
	carry_out(&plan);
	filera_fault_cached(w.ra, &w.file, 107, FILERA_NORMAL, &plan);
	assert_plan(&plan, NOTHING);
	filera_fault_cached(w.ra, &w.file, 108, FILERA_NORMAL, &plan);
	assert_plan(&plan, 116, 32, 116);
	filera_fault(w.ra, &w.file, 5, FILERA_NORMAL, &plan);
	assert_plan(&plan, 0, 32, 24);
	filera_fault(w.ra, &w.file, 990, FILERA_NORMAL, &plan);
	assert_plan(&plan, 974, 26, 992);
	world_end();
}

static void a_mapping_that_misses_is_not_read_around(void **state)
{
	struct filera_plan plan;

	(void)state;
	world_make(1000, 32, 0);
	fetch(500, 1, FILERA_NO_MARK);
	for (unsigned i = 1; i <= 3000; i++) {
		filera_fault(w.ra, &w.file, 100, FILERA_NORMAL, &plan);
		assert_int_equal(plan.n, i <= 100 ? 32 : 0);
	}
	/* It is forgotten up to 1000 misses: as many hits but 100 it takes, and the next miss is one more. */
	assert_int_equal(w.ra->mmap_miss, 1000);
	filera_around(w.ra, 800);
	for (unsigned i = 0; i < 100; i++)
		filera_fault_cached(w.ra, &w.file, 500, FILERA_NORMAL, &plan);
	filera_fault(w.ra, &w.file, 100, FILERA_NORMAL, &plan);
	assert_int_equal(plan.n, 0);
	filera_around(w.ra, 2);
	filera_fault(w.ra, &w.file, 100, FILERA_NORMAL, &plan);
	assert_int_equal(plan.n, 32);
	filera_around(w.ra, 5000);
	assert_int_equal(w.ra->mmap_miss, 0);
	world_end();
}

/* Whatever the size of its reads, a stream waits once, or once a request that is larger than all windows. */
static void a_stream_reads_every_page_once_and_hardly_waits(void **state)
{
	static const unsigned request[] = { 1, 2, 3, 4, 7, 8, 16, 31, 32 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(request); i++) {
		world_make(4000, 32, 0);
		for (uint64_t at = 0; at < 4000; at += request[i])
			reads(at, MIN(request[i], 4000 - at), FILERA_NORMAL);
		assert_int_equal(w.fetched, 4000);
		assert_int_equal(w.waits, 1);
		world_end();
	}
}

static void two_streams_of_one_descriptor_hardly_wait(void **state)
{
	(void)state;
	world_make(8000, 32, 0);
	for (uint64_t at = 0; at < 2000; at++) {
		reads(at, 1, FILERA_NORMAL);
		reads(5000 + at, 1, FILERA_NORMAL);
	}
	/* The second begins as random reads do, until it has left a trace. */
	assert_in_range(w.waits, 2, 10);
	assert_in_range(w.fetched, 4000, 4000 + 2 * 64);
	world_end();
}

static void single_pages_at_random_read_hardly_more(void **state)
{
	(void)state;
	world_make((uint64_t)1 << 30, 32, 0);
	for (unsigned i = 0; i < 2000; i++)
		reads(1 + rand_below(&w.rand, ((uint64_t)1 << 30) - 1), 1, FILERA_NORMAL);
	assert_int_equal(w.fetched, 2000);
	world_end();
}

/* Any mixture ends, stays in the file and keeps the law (carry_out looks). */
static void any_mixture_of_reads_and_faults_goes_on(void **state)
{
	struct filera_plan plan;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		world_make(300 + round * 37, (uint32_t)(round % 5 * 13), round % 3 == 0 ? 100 : 0);
		for (unsigned i = 0; i < 1500; i++) {
			uint64_t at = rand_below(&w.rand, w.file.size_pages), n = w.file.size_pages - at;
			enum filera_hint hint = (enum filera_hint)rand_below(&w.rand, 3);
			struct frame *frame = pagecache_get(&w.file, at);

			switch (rand_below(&w.rand, 4)) {
			case 0:
				reads(at, 1 + rand_below(&w.rand, MIN(n, 150)), hint);
				break;
			case 1:
				(frame != NULL ? filera_fault_cached : filera_fault)(w.ra, &w.file, at, hint, &plan);
				carry_out(&plan);
				break;
			default:
				if (frame != NULL) {
					pagecache_evict(frame, 0);
					drop(NULL, frame);
				}
			}
		}
		world_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sequential_reader_gets_windows_that_grow),
		cmocka_unit_test(larger_requests_begin_with_larger_windows),
		cmocka_unit_test(a_request_larger_than_a_window_is_cut_in_windows),
		cmocka_unit_test(random_reads_read_what_they_ask_for),
		cmocka_unit_test(cached_pages_before_a_miss_tell_of_a_stream),
		cmocka_unit_test(the_mark_of_another_reader_is_followed),
		cmocka_unit_test(nothing_is_read_beyond_the_end),
		cmocka_unit_test(hints_and_no_read_ahead),
		cmocka_unit_test(a_fault_reads_around),
		cmocka_unit_test(a_mapping_that_misses_is_not_read_around),
		cmocka_unit_test(a_stream_reads_every_page_once_and_hardly_waits),
		cmocka_unit_test(two_streams_of_one_descriptor_hardly_wait),
		cmocka_unit_test(single_pages_at_random_read_hardly_more),
		cmocka_unit_test(any_mixture_of_reads_and_faults_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * mm/backing/readahead.c in front of a small memory: pages are fetched as the
 * plan says and evicted first in, first out. A page that was read ahead and
 * goes (or stays to the end) untouched is waste.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "mm/backing/readahead.h"

enum page_state { OUT, AHEAD, MARK, TOUCHED };

struct world {
	struct vma vma;
	struct rand rand;
	uint8_t *page;     /* enum page_state, by vpn - start */
	uint32_t *ring;    /* resident pages, oldest first */
	uint32_t pages, capacity, resident, oldest;
	unsigned max;
	unsigned depth;    /* windows that are fetched before they are touched, at most */
	uint64_t accesses, faults, fetched, wasted, hits;
};

static struct world w;

#define START 0x100000

static void world_make(uint32_t pages, uint32_t capacity, uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.vma.start.n = START;
	w.vma.end.n = START + pages;
	w.pages = pages;
	w.capacity = capacity;
	w.max = RA_MAX;
	w.page = calloc(pages, 1);
	w.ring = calloc(capacity, sizeof(*w.ring));
	assert_non_null(w.page);
	assert_non_null(w.ring);
	rand_seed(&w.rand, seed);
}

static void evict(void)
{
	uint32_t victim = w.ring[w.oldest];

	w.wasted += w.page[victim] == AHEAD || w.page[victim] == MARK;
	w.page[victim] = OUT;
	w.oldest = (w.oldest + 1) % w.capacity;
	w.resident--;
}

static void fetch(uint32_t p, enum page_state as)
{
	if (w.resident == w.capacity)
		evict();
	w.ring[(w.oldest + w.resident++) % w.capacity] = p;
	w.page[p] = (uint8_t)as;
	w.fetched++;
}

/* The first page of a window that is out is its mark. */
static void go_ahead(uint32_t p)
{
	struct ra_plan plan;

	while (readahead_further(&w.vma, (vpn_t){ START + p }, w.depth, &plan)) {
		enum page_state as = MARK;

		readahead_check(&w.vma);
		for (unsigned i = 0; i < plan.n; i++) {
			assert_in_range(plan.vpn[i].n, w.vma.start.n, w.vma.end.n - 1);
			if (w.page[plan.vpn[i].n - START] != OUT)
				continue;
			fetch((uint32_t)(plan.vpn[i].n - START), as);
			as = AHEAD;
		}
	}
}

static void access(uint32_t p)
{
	struct ra_plan plan;

	w.accesses++;
	if (w.page[p] != OUT) {
		bool mark = w.page[p] == MARK;

		w.page[p] = TOUCHED;
		if (mark && readahead_reached(&w.vma, (vpn_t){ START + p }, false))
			go_ahead(p);
		return;
	}
	readahead_plan(&w.vma, (vpn_t){ START + p }, w.max, &plan);
	readahead_check(&w.vma);
	w.faults++;
	w.hits += plan.hit;
	assert_in_range(plan.n, 1, MAX(w.max, 1u));
	assert_int_equal(plan.vpn[0].n, START + p);
	fetch(p, TOUCHED);
	for (unsigned i = 1; i < plan.n; i++) {
		assert_in_range(plan.vpn[i].n, w.vma.start.n, w.vma.end.n - 1);
		if (w.page[plan.vpn[i].n - START] == OUT)
			fetch((uint32_t)(plan.vpn[i].n - START), AHEAD);
	}
	go_ahead(p);
}

/* Counts what is still untouched, and says the figures where a person runs the test. */
static void world_end(const char *what)
{
	for (uint32_t i = 0; i < w.pages; i++)
		w.wasted += w.page[i] == AHEAD || w.page[i] == MARK;
	print_message("# %-44s %7llu accesses %6llu faults %6.2f pages a fault, %5.2f %% waste, %5.1f %% hits\n", what,
		      (unsigned long long)w.accesses, (unsigned long long)w.faults,
		      (double)w.fetched / (double)w.faults, 100.0 * (double)w.wasted / (double)w.fetched,
		      100.0 * (double)w.hits / (double)w.faults);
	free(w.page);
	free(w.ring);
}

static double waste(void) { return (double)w.wasted / (double)w.fetched; }

static void a_scan_costs_one_fault_in_32_pages(void **state)
{
	(void)state;
	for (uint32_t n = 256; n <= 65536; n *= 16) {
		world_make(n, 64, 1);
		for (uint32_t p = 0; p < n; p++)
			access(p);
		world_end("sequential");
		/* Up to four faults to see it, four to open the window (2 4 8 16), then 32 at a time. */
		assert_in_range(w.faults, n / 32, n / 32 + 8);
		assert_int_equal(w.wasted, 0);

		world_make(n, 64, 1);
		for (uint32_t p = n; p-- > 0;)
			access(p);
		world_end("reverse");
		assert_in_range(w.faults, n / 32, n / 32 + 8);
		assert_int_equal(w.wasted, 0);
	}
}

static void a_strided_scan_fetches_only_its_stride(void **state)
{
	static const int strides[] = { 2, 3, 7, 16, 33, 64, -2, -5, -64 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(strides); i++) {
		uint32_t step = (uint32_t)abs(strides[i]), n = 32768;

		world_make(n, 64, 1);
		for (uint32_t k = 0; k < DIV_ROUND_UP(n, step); k++)
			access(strides[i] > 0 ? k * step : n - 1 - k * step);
		world_end("strided");
		assert_true(w.faults <= n / step / 32 + 9);
		assert_int_equal(w.wasted, 0);
	}
}

static void a_stride_beyond_64_pages_is_random_access(void **state)
{
	(void)state;
	world_make(65536, 64, 1);
	for (uint32_t k = 0; k < 900; k++)
		access(k * 65);
	world_end("stride of 65");
	assert_int_equal(w.fetched, w.faults);
}

static void interleaved_streams_each_get_their_window(void **state)
{
	uint32_t at[4] = { 0, 20000, 30000, 64000 };
	static const int step[4] = { 1, -1, 3, 1 };

	(void)state;
	world_make(65536 + 8192, 512, 1);
	for (unsigned i = 0; i < 4096; i++) {
		for (unsigned s = 0; s < 4; s++) {
			access(at[s]);
			at[s] += (uint32_t)step[s];
		}
	}
	world_end("4 interleaved streams");
	assert_true(w.faults <= 4 * (4096 / 32 + 8));
	/* Only what lies beyond the ends of the scans. */
	assert_true(w.wasted <= 4 * 31);
}

static void streams_of_different_speed_get_their_window(void **state)
{
	uint32_t at[4] = { 0, 20000, 40000, 60000 };

	(void)state;
	world_make(80000, 512, 7);
	for (unsigned i = 0; i < 16000; i++) {
		uint64_t dice = rand_below(&w.rand, 15);

		access(at[dice < 8 ? 0 : dice < 12 ? 1 : dice < 14 ? 2 : 3]++);
	}
	world_end("4 streams at speeds 8 4 2 1");
	assert_true(w.faults <= 16000 / 32 + 4 * 8);
	assert_true(w.wasted <= 4 * 31);
}

static void random_access_costs_nothing(void **state)
{
	(void)state;
	for (uint32_t n = 256; n <= 1 << 20; n *= 4) {
		world_make(n, MAX(n / 8, 64), n);
		for (unsigned i = 0; i < 200000; i++)
			access((uint32_t)rand_below(&w.rand, n));
		world_end("uniform random");
		assert_true(waste() <= 0.02);
		assert_true((double)w.fetched / (double)w.faults <= 1.02);
	}
}

static void random_access_to_a_hot_part_costs_little(void **state)
{
	(void)state;
	for (uint32_t n = 2048; n <= 1 << 16; n *= 2) {
		world_make(1 << 20, n / 4, n);
		for (unsigned i = 0; i < 200000; i++)
			access((uint32_t)rand_below(&w.rand, n));
		world_end("random in a small part of a large area");
		assert_true(waste() <= 0.02);
	}
}

static void random_access_with_most_pages_resident_costs_nothing(void **state)
{
	(void)state;
	for (uint32_t n = 1024; n <= 1 << 18; n *= 4) {
		world_make(n, n / 4 * 3, n);
		for (unsigned i = 0; i < 400000; i++)
			access((uint32_t)rand_below(&w.rand, n));
		world_end("uniform random, 75 % resident");
		assert_true(waste() <= 0.02);
		assert_true((double)w.fetched / (double)w.faults <= 1.02);
	}
}

static void a_scan_over_partly_resident_pages_is_still_a_scan(void **state)
{
	const uint32_t n = 65536;

	(void)state;
	world_make(n, n, 5);
	for (uint32_t p = 0; p < n; p++) {
		if (rand_below(&w.rand, 4) != 0)
			w.page[p] = TOUCHED;
	}
	for (uint32_t p = 0; p < n; p++)
		access(p);
	world_end("sequential, 75 % resident");
	/* A quarter of 32 pages a fault is to be had; three of them were asked for. */
	assert_true(w.fetched >= 6 * w.faults);
	assert_true(waste() <= 0.01);
}

static void random_faults_do_not_disturb_a_scan(void **state)
{
	static const unsigned random_percent[] = { 10, 30, 50, 70, 80 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(random_percent); i++) {
		const uint32_t n = 1 << 20, scan = 30000;
		uint32_t at = 0;
		uint64_t random = 0;

		world_make(n, 4096, 11 + i);
		while (at < scan) {
			if (rand_below(&w.rand, 100) < random_percent[i]) {
				access(scan + 64 + (uint32_t)rand_below(&w.rand, n - scan - 64));
				random++;
			} else {
				access(at++);
			}
		}
		char what[48];

		snprintf(what, sizeof(what), "sequential with %u %% random", random_percent[i]);
		world_end(what);
		/* Random accesses fault once each; the scan adds its own one in 32 pages. */
		assert_true(w.faults <= random + scan / 16);
		assert_true(waste() <= 0.01);
	}
}

static void short_runs_waste_little(void **state)
{
	static const unsigned runs[] = { 2, 3, 4, 5, 7, 9, 12, 20, 33, 50, 64 };

	(void)state;
	for (unsigned r = 0; r < ARRAY_SIZE(runs); r++) {
		unsigned run = runs[r];

		world_make(1 << 18, 4096, run);
		for (unsigned i = 0; i < 100000 / run; i++) {
			uint32_t p = (uint32_t)rand_below(&w.rand, w.pages - 64);

			for (unsigned k = 0; k < run; k++)
				access(p + k);
		}
		char what[48];

		snprintf(what, sizeof(what), "random runs of %u pages", run);
		world_end(what);
		/* Doubling overshoots by less than what was of use. */
		assert_true(waste() <= 0.5);
		if (run <= 5)
			assert_true(waste() <= 0.01);
	}
}

static void a_plan_respects_max(void **state)
{
	(void)state;
	for (unsigned max = 0; max <= 16; max += 4) {
		world_make(8192, 64, 1);
		w.max = max;
		for (uint32_t p = 0; p < 8192; p++)
			access(p);
		world_end("sequential, smaller max");
		assert_true(w.faults <= 8192 / MAX(max, 1u) + 8);
		assert_int_equal(w.wasted, 0);
	}
}

static void a_stream_that_stops_starts_small_again(void **state)
{
	struct ra_plan plan;
	uint32_t p;

	(void)state;
	world_make(1 << 20, 4096, 3);
	for (p = 0; p < 4096; p++)
		access(p);
	for (unsigned i = 0; i < 3000; i++)
		access(8192 + (uint32_t)rand_below(&w.rand, w.pages - 8192));
	while (w.page[p] != OUT)
		p++;
	readahead_plan(&w.vma, (vpn_t){ START + p }, RA_MAX, &plan);
	assert_false(plan.hit);
	assert_int_equal(plan.n, 1);
	world_end("a stream that stops");
}

static void the_whole_64_bit_range_is_usable(void **state)
{
	struct vma vma = { .start = { 0 }, .end = { (uint64_t)1 << 52 } };
	struct ra_plan plan;
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t near = rand_below(&r, 2) ? 0 : vma.end.n - 200;
		uint64_t p = near + rand_below(&r, 200);

		readahead_plan(&vma, (vpn_t){ p }, (unsigned)rand_below(&r, 40), &plan);
		readahead_check(&vma);
		for (unsigned k = 0; k < plan.n; k++)
			assert_true(plan.vpn[k].n < vma.end.n);
	}
}

static void stamps_survive_their_wrap(void **state)
{
	(void)state;
	world_make(65536, 64, 1);
	for (uint32_t p = 0; p < 1000; p++)
		access(p);
	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		if (w.vma.streams[i].used != 0)
			w.vma.streams[i].used = UINT32_MAX - 10;
	}
	for (uint32_t p = 1000; p < 10000; p++)
		access(p);
	world_end("stamp wraps");
	assert_true(w.faults <= 10000 / 32 + 20);
}

static void a_scan_that_is_kept_ahead_faults_only_at_its_start(void **state)
{
	static const int strides[] = { 1, -1, 7, -64 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(strides); i++) {
		uint32_t step = (uint32_t)abs(strides[i]), n = 65536;

		world_make(n, 512, 1);
		w.depth = 1;
		for (uint32_t k = 0; k < DIV_ROUND_UP(n, step); k++)
			access(strides[i] > 0 ? k * step : n - 1 - k * step);
		world_end("kept ahead");
		assert_in_range(w.faults, 5, 12);
		assert_int_equal(w.wasted, 0);
	}
}

/* A mark that comes too late moves the next ones on, up to what is allowed. */
static void who_is_late_is_kept_further_ahead(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= RA_DEPTH_MAX; depth++) {
		struct ra_plan plan;
		unsigned windows = 0;

		world_make(65536, 512, 1);
		for (uint32_t p = 0; p < 128; p++)
			access(p);
		uint64_t next = START + 128;

		for (unsigned i = 0; i < VMA_STREAMS; i++)
			next = MAX(next, w.vma.streams[i].next);
		readahead_plan(&w.vma, (vpn_t){ next }, RA_MAX, &plan);
		for (unsigned round = 0; round < 6; round++) {
			for (windows = 0; readahead_further(&w.vma, (vpn_t){ next }, depth, &plan); windows++)
				assert_int_equal(plan.n, RA_MAX);
			next += RA_MAX;
			assert_true(readahead_reached(&w.vma, (vpn_t){ next }, true));
			/* The one that is reached, and one more while it may be further ahead. */
			assert_int_equal(windows, round == 0 ? 1 : round < depth ? 2 : 1);
		}
		world_end("late");
	}
}

static void random_access_fetches_nothing_ahead(void **state)
{
	(void)state;
	for (uint32_t n = 512; n <= 65536; n *= 8) {
		world_make(n, n / 4, 1);
		w.depth = RA_DEPTH_MAX;
		for (unsigned i = 0; i < 100000; i++)
			access((uint32_t)rand_below(&w.rand, n));
		world_end("random, could be kept ahead");
		assert_true(waste() < 0.02);
	}
}

/* What looks like a dense scan of pages of which some are resident may be a wide stride: of what is read ahead it needs little. */
static void a_stream_that_skips_pages_is_not_kept_ahead(void **state)
{
	struct ra_plan plan;
	uint64_t next = START + 70;

	(void)state;
	world_make(131072, 512, 1);
	for (uint32_t p = 0; p < 70; p++)
		access(p);
	for (unsigned i = 0; i < VMA_STREAMS; i++)
		next = MAX(next, w.vma.streams[i].next);
	for (unsigned i = 0; i < 100; i++) {
		bool skips = i % 10 != 0;

		next += skips ? 3 : 0;
		readahead_plan(&w.vma, (vpn_t){ next }, RA_MAX, &plan);
		assert_true(plan.hit && plan.n == RA_MAX);
		assert_int_equal(readahead_further(&w.vma, (vpn_t){ next }, RA_DEPTH_MAX, &plan), i == 0);
		next += RA_MAX;
	}
	world_end("every seventh page");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scan_costs_one_fault_in_32_pages),
		cmocka_unit_test(a_strided_scan_fetches_only_its_stride),
		cmocka_unit_test(a_stride_beyond_64_pages_is_random_access),
		cmocka_unit_test(interleaved_streams_each_get_their_window),
		cmocka_unit_test(streams_of_different_speed_get_their_window),
		cmocka_unit_test(random_access_costs_nothing),
		cmocka_unit_test(random_access_to_a_hot_part_costs_little),
		cmocka_unit_test(random_access_with_most_pages_resident_costs_nothing),
		cmocka_unit_test(a_scan_over_partly_resident_pages_is_still_a_scan),
		cmocka_unit_test(random_faults_do_not_disturb_a_scan),
		cmocka_unit_test(short_runs_waste_little),
		cmocka_unit_test(a_plan_respects_max),
		cmocka_unit_test(a_stream_that_stops_starts_small_again),
		cmocka_unit_test(a_scan_that_is_kept_ahead_faults_only_at_its_start),
		cmocka_unit_test(who_is_late_is_kept_further_ahead),
		cmocka_unit_test(random_access_fetches_nothing_ahead),
		cmocka_unit_test(a_stream_that_skips_pages_is_not_kept_ahead),
		cmocka_unit_test(the_whole_64_bit_range_is_usable),
		cmocka_unit_test(stamps_survive_their_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

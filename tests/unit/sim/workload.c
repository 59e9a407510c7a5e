/* The generator against what its patterns say of themselves, and against libm. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/workload.h"
#include "failalloc.h"

#define PAGES 3000u
#define TOUCHES 600000u

static uint32_t page[TOUCHES], again[TOUCHES], count[PAGES];

static void fill(const char *name, uint64_t seed)
{
	assert_int_equal(workload_fill(workload_find(name), PAGES, seed, page, TOUCHES), 0);
	memset(count, 0, sizeof(count));
	for (unsigned i = 0; i < TOUCHES; i++) {
		assert_in_range(page[i], 0, PAGES - 1);
		count[page[i]]++;
	}
}

static void every_pattern_stays_in_its_range_and_comes_again(void **state)
{
	(void)state;
	for (unsigned i = 0; workload_nth(i) != NULL; i++) {
		assert_ptr_equal(workload_find(workload_nth(i)->name), workload_nth(i));
		fill(workload_nth(i)->name, 7);
		memcpy(again, page, sizeof(page));
		fill(workload_nth(i)->name, 7);
		assert_memory_equal(again, page, sizeof(page));
	}
	assert_null(workload_find("none"));
}

static void a_loop_counts(void **state)
{
	(void)state;
	fill("loop", 1);
	for (unsigned i = 0; i < TOUCHES; i++)
		assert_int_equal(page[i], i % PAGES);
}

static void a_window_moves_from_end_to_end(void **state)
{
	(void)state;
	fill("window", 1);
	for (uint64_t i = 0; i < TOUCHES; i++) {
		uint64_t start = i * (PAGES - PAGES / 3) / TOUCHES;

		assert_in_range(page[i], start, start + PAGES / 3 - 1);
	}
}

static void seven_of_ten_touches_are_hot(void **state)
{
	unsigned scanned = 0, hot = 0;

	(void)state;
	fill("hotscan", 1);
	for (unsigned i = 0; i < PAGES / 4; i++)
		hot += count[i];
	/* The scan goes over the hot quarter, too. */
	for (unsigned i = PAGES / 4; i < PAGES; i++)
		scanned += count[i];
	assert_in_range(hot, TOUCHES * 0.775 - 2000, TOUCHES * 0.775 + 2000);
	assert_int_equal(hot + scanned, TOUCHES);
}

static int downwards(const void *a, const void *b)
{
	return *(const uint32_t *)a < *(const uint32_t *)b ? 1 : -1;
}

/* Sorted by how often they came, the pages of low ranks have the shares that pow says, within four standard deviations. */
static void zipf_has_the_shares_of_its_law(void **state)
{
	static const struct {
		const char *name;
		double skew;
	} cases[] = { { "zipf0.6", 0.6 }, { "zipf0.9", 0.9 } };

	(void)state;
	for (unsigned c = 0; c < 2; c++) {
		double sum = 0;

		fill(cases[c].name, 3);
		qsort(count, PAGES, sizeof(*count), downwards);
		for (unsigned r = 1; r <= PAGES; r++)
			sum += pow(r, -cases[c].skew);
		for (unsigned r = 1; r <= 10; r++) {
			double mean = TOUCHES * pow(r, -cases[c].skew) / sum;

			assert_true(fabs((double)count[r - 1] - mean) < 4 * sqrt(mean) + 0.02 * mean);
		}
	}
}

/* FNV-1a of what every machine must get: counts of a kernel are known for these sequences (kernel.c). */
static void the_sequences_are_the_same_everywhere(void **state)
{
	static const char *const names[] = { "zipf0.6", "zipf0.9", "uniform" };
	static const uint64_t known[] = { UINT64_C(0xfaf29454ea38c481), UINT64_C(0xbf646e7021d6636f), UINT64_C(0xca41d9eb0d172db4) };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t hash = UINT64_C(0xcbf29ce484222325);

		fill(names[i], 1);
		for (unsigned k = 0; k < TOUCHES; k++)
			hash = (hash ^ page[k]) * UINT64_C(0x100000001b3);
		assert_int_equal(hash, known[i]);
	}
}

static void no_memory_is_said(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		fail_nth = n;
		assert_int_equal(workload_fill(workload_find("zipf0.9"), PAGES, 1, page, TOUCHES), -ENOMEM);
	}
	fail_nth = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pattern_stays_in_its_range_and_comes_again),
		cmocka_unit_test(a_loop_counts),
		cmocka_unit_test(a_window_moves_from_end_to_end),
		cmocka_unit_test(seven_of_ten_touches_are_hot),
		cmocka_unit_test(zipf_has_the_shares_of_its_law),
		cmocka_unit_test(the_sequences_are_the_same_everywhere),
		cmocka_unit_test(no_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

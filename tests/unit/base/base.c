/* base/: sizes, formatting, histogram. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <xxhash.h>

#include "base/fmt.h"
#include "base/hash.h"
#include "base/hash_avx2.h"
#include "base/hist.h"
#include "base/rand.h"
#include "base/size.h"

static void size_parses_what_people_write(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "128M", 128 * MIB }, { "1.5G", 3 * GIB / 2 }, { "2GiB", 2 * GIB },
		{ "64k", 64 * KIB }, { "64 KB", 64 * KIB }, { "100B", 100 }, { "0.25g", GIB / 4 }, { "16383P", 16383ull << 50 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t v = 1;

		assert_int_equal(size_parse(good[i].text, &v), 0);
		assert_int_equal(v, good[i].bytes);
	}
}

static void size_refuses_garbage_and_overflow(void **state)
{
	static const char *const bad[] = { "", "M", "-1", "1.5", "1.M", "12Q", "1MM", "1iB", "1 2", "0x10", "1GiBB", " 1" };
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(size_parse(bad[i], &v), -EINVAL);
	assert_int_equal(size_parse("16384P", &v), -ERANGE);
	assert_int_equal(size_parse("18446744073709551616", &v), -ERANGE);
}

static void check_size_text(uint64_t bytes, const char *want)
{
	char buf[32];
	struct fmt f;

	fmt_init(&f, buf, sizeof(buf));
	fmt_size(&f, bytes);
	assert_string_equal(buf, want);
}

static void size_prints_with_a_binary_unit(void **state)
{
	(void)state;
	check_size_text(0, "0 B");
	check_size_text(1023, "1023 B");
	check_size_text(128 * MIB, "128 MiB");
	check_size_text(3 * GIB / 2, "1.5 GiB");
	check_size_text(UINT64_MAX, "15.9 EiB");
}

static void fmt_cuts_at_the_end_of_the_buffer(void **state)
{
	char buf[8];
	struct fmt f;

	(void)state;
	fmt_init(&f, buf, sizeof(buf));
	fmt_hex(&f, 0xabc);
	fmt_i64(&f, -12345);
	assert_string_equal(buf, "0xabc-1");
	fmt_init(&f, buf, sizeof(buf));
	fmt_fixed(&f, 1205, 3);
	assert_string_equal(buf, "1.205");
}

static void hist_quantiles_are_within_an_eighth(void **state)
{
	static struct hist h;
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (int i = 0; i < 100000; i++)
		hist_add(&h, rand_below(&r, 1000000));
	for (unsigned permille = 10; permille <= 1000; permille += 10) {
		double want = permille * 1000.0, got = (double)hist_quantile(&h, permille);

		assert_true(got >= want * 0.97 && got <= want * 1.14);
	}
}

static void hist_buckets_are_contiguous(void **state)
{
	(void)state;
	for (unsigned i = 1; i < HIST_BUCKETS; i++) {
		assert_int_equal(hist_index(hist_floor(i)), i);
		assert_int_equal(hist_index(hist_floor(i) - 1), i - 1);
	}
}

/* The reference is xxhash's own library. */
static void hash_is_xxh3_whatever_the_processor_can_do(void **state)
{
	static uint64_t page[PAGE_SIZE / sizeof(uint64_t)];
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (unsigned round = 0; round < 100; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(page); i++)
			page[i] = round == 0 ? 0 : rand_u64(&r);
		uint64_t reference = XXH3_64bits(page, sizeof(page));

		assert_int_equal(hash_page(page), reference);
		if (__builtin_cpu_supports("avx2"))
			assert_int_equal(hash_page_avx2(page), reference);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_xxh3_whatever_the_processor_can_do),
		cmocka_unit_test(size_parses_what_people_write),
		cmocka_unit_test(size_refuses_garbage_and_overflow),
		cmocka_unit_test(size_prints_with_a_binary_unit),
		cmocka_unit_test(fmt_cuts_at_the_end_of_the_buffer),
		cmocka_unit_test(hist_quantiles_are_within_an_eighth),
		cmocka_unit_test(hist_buckets_are_contiguous),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

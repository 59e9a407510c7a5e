/* Regions of files through the public header: the region and the file beside a copy in plain memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "allowed.h"
#include "resident.h"
#include "world.h"
static const size_t page_sizes[] = { 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB };

static void what_is_in_the_file_is_read_at_every_page_size(void **state)
{
	struct world w = world_make(16 * MIB + 123);

	(void)state;
	for (unsigned i = 0; i < sizeof(page_sizes) / sizeof(page_sizes[0]); i++) {
		size_t before = resident();

		world_open(&w, 4 * MIB, page_sizes[i]);
		assert_memory_equal(address(&w), w.want, w.bytes);
		assert_in_range(resident() - before, MIB, 4 * MIB + 512 * KIB);
		for (unsigned k = 0; k < 300; k++) {
			size_t at = below64(&w.random, w.bytes);

			assert_int_equal(address(&w)[at], w.want[at]);
		}
		/* Behind its end, up to the end of the page, there are zeros. */
		assert_int_equal(address(&w)[w.bytes], 0);
		assert_int_equal(address(&w)[w.bytes / page_sizes[i] * page_sizes[i] + page_sizes[i] - 1], 0);
		assert_int_equal(stats_of(&w).errors, 0);
		assert_int_equal(stw_close(w.r), 0);
	}
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void what_was_written_at_random_is_in_the_file_at_every_page_size(void **state)
{
	struct world w = world_make(8 * MIB + 77);

	(void)state;
	for (unsigned i = 0; i < sizeof(page_sizes) / sizeof(page_sizes[0]); i++) {
		world_open(&w, 4 * MIB, page_sizes[i]);
		write_some(&w, 1500);
		w.want[w.bytes - 1] ^= 1;
		address(&w)[w.bytes - 1] ^= 1;
		for (unsigned k = 0; k < 300; k++) {
			size_t at = below64(&w.random, w.bytes);

			assert_int_equal(address(&w)[at], w.want[at]);
		}
		assert_int_equal(stw_close(w.r), 0);
		check_file(&w);
	}
	w.r = NULL;
	world_end(&w);
}

static void a_flush_writes_what_is_dirty_and_later_writes_are_seen(void **state)
{
	struct world w = world_make(2 * MIB);

	(void)state;
	world_open(&w, 8 * MIB, 64 * KIB);
	for (unsigned round = 0; round < 3; round++) {
		write_some(&w, 20);
		assert_true(stats_of(&w).dirty > 0);
		assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
		assert_int_equal(stats_of(&w).dirty, 0);
		check_file(&w);
	}
	/* A part only. */
	address(&w)[0] ^= 1;
	address(&w)[MIB] ^= 1;
	assert_int_equal(stw_flush(w.r, 0, 64 * KIB), 0);
	assert_int_equal(stats_of(&w).dirty, 64 * KIB);
	w.want[0] ^= 1;
	w.want[MIB] ^= 1;
	world_end(&w);
}

static void an_abandoned_region_leaves_the_file_as_it_was(void **state)
{
	struct world w = world_make(MIB);

	(void)state;
	world_open(&w, 8 * MIB, 64 * KIB);
	memset(address(&w), 1, MIB);
	assert_int_equal(stw_abandon(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

/* Random operations against the copy. */
static void whatever_is_done_the_region_is_what_the_copy_is(void **state)
{
	struct world w = world_make(6 * MIB);
	size_t page = 16 * KIB;

	(void)state;
	world_open(&w, 2 * MIB, page);
	for (unsigned i = 0; i < 3000; i++) {
		size_t at = below64(&w.random, w.bytes), len = below64(&w.random, 200 * KIB);

		len = len < w.bytes - at ? len : w.bytes - at;
		switch (below64(&w.random, 12)) {
		case 0:
			assert_int_equal(stw_prefetch(w.r, at, len), 0);
			break;
		case 1:
			assert_int_equal(stw_cold(w.r, at, len), 0);
			break;
		case 2:
			if (stw_pin(w.r, at, len) != 0)
				assert_int_equal(stw_unpin(w.r, 0, w.bytes), 0);
			break;
		case 3:
			assert_int_equal(stw_flush(w.r, at, len), 0);
			break;
		case 4: {
			size_t from = (at + page - 1) / page * page, to = at + len == w.bytes ? w.bytes : (at + len) / page * page;

			assert_int_equal(stw_discard(w.r, at, len), 0);
			if (from < to)
				memset(w.want + from, 0, to - from);
			break;
		}
		case 5:
		case 6:
		case 7:
			memset(w.want + at, (int)i, len);
			memset(address(&w) + at, (int)i, len);
			break;
		case 8: {
			struct stw_range ranges[40];

			for (unsigned k = 0; k < 40; k++)
				ranges[k] = (struct stw_range){ below64(&w.random, w.bytes), 1 };
			assert_int_equal(stw_get(w.r, ranges, 40), 0);
			break;
		}
		default:
			assert_memory_equal(address(&w) + at, w.want + at, len);
		}
	}
	assert_memory_equal(address(&w), w.want, w.bytes);
	struct stw_region *r = w.r;

	w.r = NULL;
	assert_int_equal(stw_close(r), 0);
	check_file(&w);
	world_end(&w);
}

static void ranges_that_are_got_need_no_fault(void **state)
{
	struct world w = world_make(16 * MIB);
	struct stw_range ranges[64];

	(void)state;
	world_open(&w, 4 * MIB, 4 * KIB);
	for (unsigned i = 0; i < 64; i++)
		ranges[i] = (struct stw_range){ below64(&w.random, w.bytes - 8), 8 };
	assert_int_equal(stw_get(w.r, ranges, 64), 0);
	uint64_t before = stats_of(&w).faults;

	for (unsigned i = 0; i < 64; i++)
		assert_memory_equal(address(&w) + ranges[i].offset, w.want + ranges[i].offset, 8);
	assert_int_equal(stats_of(&w).faults, before);
	ranges[7].offset = w.bytes;
	assert_int_equal(stw_get(w.r, ranges, 64), -EINVAL);
	world_end(&w);
}

static void what_is_read_in_order_is_read_ahead(void **state)
{
	struct world w = world_make(16 * MIB);

	(void)state;
	world_open(&w, 8 * MIB, 4 * KIB);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_in_range(stats_of(&w).faults, 1, w.bytes / (4 * KIB) / 8);
	assert_int_equal(stats_of(&w).pages_in, w.bytes / PAGE);
	world_end(&w);
}

static void what_is_written_in_order_takes_few_faults(void **state)
{
	struct world w = world_make(16 * MIB);

	(void)state;
	world_open(&w, 8 * MIB, 4 * KIB);
	for (size_t i = 0; i < w.bytes; i += 4 * KIB) {
		assert_int_equal(address(&w)[i], w.want[i]);
		w.want[i] ^= 1;
		address(&w)[i] ^= 1;
	}
	assert_in_range(stats_of(&w).faults_write, 1, w.bytes / (4 * KIB) / 8);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void at_random(struct world *w, unsigned n, bool write)
{
	for (unsigned i = 0; i < n; i++) {
		size_t at = below64(&w->random, w->bytes);

		assert_int_equal(address(w)[at], w->want[at]);
		if (write)
			address(w)[at] = ++w->want[at];
	}
}

static void updates_at_random_take_one_fault_each_and_reads_write_nothing(void **state)
{
	struct world w = world_make(16 * MIB);

	(void)state;
	world_open(&w, 2 * MIB, 4 * KIB);
	at_random(&w, 3000, true);
	assert_in_range(stats_of(&w).faults_write, 48, 1000);
	assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
	at_random(&w, 1500, false);
	assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
	at_random(&w, 1000, false);
	assert_int_equal(stats_of(&w).dirty, 0);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

/* Cursors that go through the file in order, jump, run into one another, and write now and then. */
static void streams_that_cross_read_what_is_there(void **state)
{
	struct world w = world_make(8 * MIB);
	size_t at[4] = { 0 };

	(void)state;
	world_open(&w, 2 * MIB, 4 * KIB);
	for (unsigned i = 0; i < 6000; i++) {
		size_t *cursor = &at[below64(&w.random, 4)], len = 16 * KIB;

		if (below64(&w.random, 40) == 0)
			*cursor = at[below64(&w.random, 4)] + below64(&w.random, 256 * KIB);
		*cursor = *cursor + len < w.bytes ? *cursor : below64(&w.random, w.bytes / 2);
		assert_memory_equal(address(&w) + *cursor, w.want + *cursor, len);
		if (below64(&w.random, 8) == 0) {
			memset(address(&w) + *cursor, (int)i, 100);
			memset(w.want + *cursor, (int)i, 100);
		}
		*cursor += len;
	}
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void pinned_blocks_stay(void **state)
{
	struct world w = world_make(16 * MIB);

	(void)state;
	world_open(&w, 4 * MIB, 64 * KIB);
	assert_int_equal(stw_pin(w.r, 3 * MIB, MIB), 0);
	assert_int_equal(stats_of(&w).pinned, MIB);
	assert_memory_equal(address(&w), w.want, w.bytes);
	uint64_t before = stats_of(&w).faults;

	assert_memory_equal(address(&w) + 3 * MIB, w.want + 3 * MIB, MIB);
	assert_int_equal(stats_of(&w).faults, before);
	assert_int_equal(stw_pin(w.r, 0, 3 * MIB), -ENOMEM);
	assert_int_equal(stw_unpin(w.r, 0, w.bytes), 0);
	assert_int_equal(stats_of(&w).pinned, 0);
	world_end(&w);
}

static void discarded_blocks_are_holes(void **state)
{
	struct world w = world_make(4 * MIB);
	struct stat before, after;

	(void)state;
	world_open(&w, 2 * MIB, 64 * KIB);
	stat(w.path, &before);
	memset(address(&w) + MIB, 7, MIB);
	assert_int_equal(stw_discard(w.r, MIB + 1, 2 * MIB), 0);
	memset(w.want + MIB, 7, 64 * KIB);
	memset(w.want + MIB + 64 * KIB, 0, 2 * MIB - 64 * KIB);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
	stat(w.path, &after);
	assert_true(after.st_blocks <= before.st_blocks - (blkcnt_t)(2 * MIB - 128 * KIB) / 512);
	check_file(&w);
	world_end(&w);
}

static void a_part_of_a_file_is_the_region_and_the_rest_is_left_alone(void **state)
{
	struct world w = world_make(3 * MIB + 100);
	struct stw_file_config c = config_of(&w, 2 * MIB, 64 * KIB);

	(void)state;
	c.offset = 20 * KIB;
	c.bytes = MIB + 5;
	open_with(&w, &c);
	assert_memory_equal(address(&w), w.want + 20 * KIB, c.bytes);
	for (size_t i = 0; i < c.bytes; i += 1000) {
		address(&w)[i]++;
		w.want[20 * KIB + i]++;
	}
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void what_is_discarded_at_the_end_of_a_region_ends_there(void **state)
{
	struct world w = world_make(3 * MIB + 100);
	struct stw_file_config c = config_of(&w, 2 * MIB, 64 * KIB);

	(void)state;
	c.offset = 20 * KIB;
	c.bytes = 200 * KIB + 5;
	for (unsigned again = 0; again < 2; again++) {
		open_with(&w, &c);
		/* Dirty blocks, too. */
		memset(address(&w), 7, again * c.bytes);
		assert_int_equal(stw_discard(w.r, 0, c.bytes), 0);
		memset(w.want + c.offset, 0, c.bytes);
		assert_memory_equal(address(&w), w.want + c.offset, c.bytes);
		assert_int_equal(stw_close(w.r), 0);
		w.r = NULL;
		check_file(&w);
	}
	world_end(&w);
}

/* Regions that end and begin within a page of each other's, and between them and behind them what others write. */
static void regions_of_one_file_leave_each_other_alone(void **state)
{
	struct world w = world_make(100 * KIB + 1);
	struct stw_file_config c = config_of(&w, 2 * MIB, 16 * KIB);
	struct stw_region *a, *b;
	int fd = open(w.path, O_WRONLY);

	(void)state;
	c.bytes = w.bytes;
	a = stw_file_open(&c);
	w.want = realloc(w.want, MIB + 77);
	memset(w.want + w.bytes, 0, MIB + 77 - w.bytes);
	w.bytes = MIB + 77;
	c.create = 1;
	c.offset = 104 * KIB;
	c.bytes = w.bytes - c.offset;
	b = stw_file_open(&c);
	assert_true(a != NULL && b != NULL && fd >= 0);
	for (unsigned i = 1; i < 4; i++) {
		memset(w.want, (int)i, 100 * KIB + 1);
		memset(stw_address(a), (int)i, 100 * KIB + 1);
		assert_int_equal(pwrite(fd, "between", 7, 100 * KIB + 1 + i * 9), 7);
		memcpy(w.want + 100 * KIB + 1 + i * 9, "between", 7);
		memset(w.want + c.offset, (int)i + 10, c.bytes);
		memset(stw_address(b), (int)i + 10, c.bytes);
		assert_int_equal(stw_flush(b, 0, c.bytes), 0);
		assert_int_equal(stw_flush(a, 0, 100 * KIB + 1), 0);
		check_file(&w);
	}
	assert_int_equal(((uint8_t *)stw_address(a))[100 * KIB + 1 + 9], 0);
	assert_int_equal(stw_close(a), 0);
	assert_int_equal(stw_close(b), 0);
	check_file(&w);
	close(fd);
	world_end(&w);
}

static void a_region_of_less_than_a_page_is_written(void **state)
{
	struct world w = world_make(10 * KIB);
	struct stw_file_config c = config_of(&w, 2 * MIB, 4 * KIB);

	(void)state;
	c.offset = 4 * KIB;
	c.bytes = 3;
	open_with(&w, &c);
	memcpy(address(&w), "end", 3);
	memcpy(w.want + 4 * KIB, "end", 3);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void a_file_is_made_and_made_longer(void **state)
{
	struct world w = world_make(0);
	struct stw_file_config c = config_of(&w, 2 * MIB, 64 * KIB);

	(void)state;
	unlink(w.path);
	free(w.want);
	w.bytes = 5 * MIB + 9;
	w.want = calloc(1, w.bytes);
	c.create = 1;
	c.bytes = w.bytes;
	open_with(&w, &c);
	assert_memory_equal(address(&w), w.want, w.bytes);
	write_some(&w, 300);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

static void memory_that_somebody_drops_is_read_again(void **state)
{
	struct world w = world_make(MIB);

	(void)state;
	world_open(&w, 8 * MIB, 64 * KIB);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(madvise(address(&w) + 100 * KIB, 200 * KIB, MADV_DONTNEED), 0);
	assert_memory_equal(address(&w), w.want, w.bytes);
	world_end(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_the_file_is_read_at_every_page_size),
		cmocka_unit_test(what_was_written_at_random_is_in_the_file_at_every_page_size),
		cmocka_unit_test(a_flush_writes_what_is_dirty_and_later_writes_are_seen),
		cmocka_unit_test(an_abandoned_region_leaves_the_file_as_it_was),
		cmocka_unit_test(whatever_is_done_the_region_is_what_the_copy_is),
		cmocka_unit_test(ranges_that_are_got_need_no_fault),
		cmocka_unit_test(what_is_read_in_order_is_read_ahead),
		cmocka_unit_test(what_is_written_in_order_takes_few_faults),
		cmocka_unit_test(updates_at_random_take_one_fault_each_and_reads_write_nothing),
		cmocka_unit_test(streams_that_cross_read_what_is_there),
		cmocka_unit_test(pinned_blocks_stay),
		cmocka_unit_test(discarded_blocks_are_holes),
		cmocka_unit_test(a_part_of_a_file_is_the_region_and_the_rest_is_left_alone),
		cmocka_unit_test(what_is_discarded_at_the_end_of_a_region_ends_there),
		cmocka_unit_test(regions_of_one_file_leave_each_other_alone),
		cmocka_unit_test(a_region_of_less_than_a_page_is_written),
		cmocka_unit_test(a_file_is_made_and_made_longer),
		cmocka_unit_test(memory_that_somebody_drops_is_read_again),
	};

	return tests_begin(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

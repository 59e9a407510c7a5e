/* Regions of files through the public header: the region and the file beside a copy in plain memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "allowed.h"
#include "base/page.h"
#include "resident.h"
#include "steward/steward.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* A file with a copy of its content in memory. */
struct world {
	char path[64];
	size_t bytes;
	uint8_t *want;
	struct stw_region *r;
	uint64_t random;
};

static void fill_random(uint8_t *at, size_t bytes, uint64_t *random)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t w = next64(random);

		memcpy(at + i, &w, 8);
	}
}

static struct world world_make(size_t bytes)
{
	struct world w = { .path = "/var/tmp/steward-embed-XXXXXX", .bytes = bytes, .want = calloc(1, bytes), .random = 42 };
	int fd = mkstemp(w.path);

	assert_true(fd >= 0);
	fill_random(w.want, bytes, &w.random);
	assert_int_equal(write(fd, w.want, bytes), bytes);
	close(fd);
	return w;
}

static struct stw_file_config config_of(const struct world *w, size_t budget, size_t page)
{
	struct stw_file_config c = STW_FILE_CONFIG;

	c.path = w->path;
	c.writable = 1;
	c.budget = budget;
	c.page = page;
	return c;
}

static void open_with(struct world *w, const struct stw_file_config *c)
{
	w->r = stw_file_open(c);
	if (w->r == NULL)
		print_error("%s\n", stw_error());
	assert_non_null(w->r);
}

static void world_open(struct world *w, size_t budget, size_t page)
{
	struct stw_file_config c = config_of(w, budget, page);

	open_with(w, &c);
	assert_int_equal(stw_bytes(w->r), w->bytes);
}

static uint8_t *address(struct world *w) { return stw_address(w->r); }

static struct stw_stats stats_of(struct world *w)
{
	struct stw_stats s;

	assert_int_equal(stw_stats(w->r, &s, sizeof(s)), 0);
	return s;
}

/* The file holds what it should. */
static void check_file(struct world *w)
{
	uint8_t *have = malloc(w->bytes + 1);
	int fd = open(w->path, O_RDONLY);

	assert_int_equal(read(fd, have, w->bytes + 1), w->bytes);
	assert_memory_equal(have, w->want, w->bytes);
	close(fd);
	free(have);
}

static void world_end(struct world *w)
{
	if (w->r != NULL)
		assert_int_equal(stw_close(w->r), 0);
	unlink(w->path);
	free(w->want);
}

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

static void write_some(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		size_t at = below64(&w->random, w->bytes);

		w->want[at] ^= 0x5a;
		address(w)[at] ^= 0x5a;
	}
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

/* What a touch raises. */

static sigjmp_buf jump;

static void on_signal(int sig)
{
	siglongjmp(jump, sig);
}

static int signal_of(volatile uint8_t *at, bool write)
{
	struct sigaction action = { .sa_handler = on_signal }, bus, segv;
	int raised;

	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	raised = sigsetjmp(jump, 1);
	if (raised == 0) {
		uint8_t byte = *at;

		if (write)
			*at = byte;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return raised;
}

static void a_region_that_is_not_writable_cannot_be_written(void **state)
{
	struct world w = world_make(MIB);
	struct stw_file_config c = config_of(&w, 2 * MIB, 64 * KIB);

	(void)state;
	c.writable = 0;
	open_with(&w, &c);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(signal_of(address(&w) + 5, true), SIGSEGV);
	assert_int_equal(stw_discard(w.r, 0, w.bytes), -EINVAL);
	assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
	world_end(&w);
}

static void a_file_that_gets_shorter_raises_sigbus(void **state)
{
	struct world w = world_make(4 * MIB);

	(void)state;
	world_open(&w, 2 * MIB, 64 * KIB);
	assert_int_equal(truncate(w.path, MIB), 0);
	assert_int_equal(signal_of(address(&w) + 3 * MIB, false), SIGBUS);
	assert_int_equal(stw_prefetch(w.r, 3 * MIB, 1), -EIO);
	assert_non_null(strstr(stw_error(), "shorter than it was"));
	assert_memory_equal(address(&w), w.want, MIB);
	assert_true(stats_of(&w).errors > 0);
	/* It is there again. */
	assert_int_equal(truncate(w.path, 4 * MIB), 0);
	assert_int_equal(stw_prefetch(w.r, 3 * MIB, 1), 0);
	assert_int_equal(signal_of(address(&w) + 3 * MIB, false), 0);
	world_end(&w);
}

static void on_a_full_disk_nothing_is_lost_and_close_says_so(void **state)
{
	char dir[] = "/tmp/steward-full-XXXXXX", path[64], ballast[64];
	struct stw_file_config c = STW_FILE_CONFIG;

	(void)state;
	assert_non_null(mkdtemp(dir));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0) {
		rmdir(dir);
		skip();
	}
	snprintf(path, sizeof(path), "%s/data", dir);
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	int fd = open(ballast, O_CREAT | O_WRONLY, 0600);

	assert_int_equal(fallocate(fd, 0, 0, MIB), 0);
	close(fd);
	c.path = path;
	c.writable = c.create = 1;
	c.bytes = 2 * MIB;
	c.budget = 8 * MIB;
	c.page = 4096;
	struct stw_region *r = stw_file_open(&c);

	assert_non_null(r);
	memset(stw_address(r), 'x', 2 * MIB);
	assert_int_equal(stw_close(r), -ENOSPC);
	assert_non_null(strstr(stw_error(), "cannot write"));
	for (size_t i = 0; i < 2 * MIB; i += 4096)
		assert_int_equal(((uint8_t *)stw_address(r))[i], 'x');
	unlink(ballast);
	assert_int_equal(stw_close(r), 0);
	uint8_t *have = malloc(2 * MIB);

	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, have, 2 * MIB), 2 * MIB);
	for (size_t i = 0; i < 2 * MIB; i++)
		assert_int_equal(have[i], 'x');
	close(fd);
	free(have);
	umount(dir);
	rmdir(dir);
}

/* A flush by a thread whose fdatasync fails, and only its. */
static void *flush_to_a_disk_that_fails(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	struct world *w = arg;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		return NULL;
	return (void *)(intptr_t)stw_flush(w->r, 0, w->bytes);
}

static void that_the_disk_did_not_take_what_was_written_is_not_forgotten(void **state)
{
	struct world w = world_make(MIB);
	pthread_t thread;
	void *said;

	(void)state;
	world_open(&w, 8 * MIB, 64 * KIB);
	write_some(&w, 20);
	assert_int_equal(pthread_create(&thread, NULL, flush_to_a_disk_that_fails, &w), 0);
	pthread_join(thread, &said);
	assert_int_equal((intptr_t)said, -EIO);
	assert_int_equal(stats_of(&w).errors, 1);
	write_some(&w, 20);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(stw_flush(w.r, 0, w.bytes), -EIO);
		assert_int_equal(stw_close(w.r), -EIO);
		assert_non_null(strstr(stw_error(), "cannot bring the file to the disk: Input/output error"));
	}
	assert_int_equal(stats_of(&w).errors, 1);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(stw_abandon(w.r), 0);
	w.r = NULL;
	world_end(&w);
}

/* Threads. */

struct worker {
	struct world *w;
	size_t from, to;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *k = arg;
	uint64_t random = k->from + 1;

	for (unsigned i = 0; i < 400; i++) {
		size_t at = k->from + below64(&random, k->to - k->from);

		if (address(k->w)[at] != k->w->want[at])
			return "wrong byte";
		address(k->w)[at] = k->w->want[at] = (uint8_t)i;
		if (i % 64 == 0)
			stw_prefetch(k->w->r, k->from, (k->to - k->from) / 4);
		if (i % 100 == 0)
			stw_flush(k->w->r, k->from, k->to - k->from);
	}
	return NULL;
}

static void threads_share_a_file(void **state)
{
	struct world w = world_make(8 * MIB);
	struct worker k[4];

	(void)state;
	world_open(&w, 2 * MIB, 4 * KIB);
	for (unsigned i = 0; i < 4; i++) {
		/* Not on the borders of pages. */
		k[i] = (struct worker){ &w, i * w.bytes / 4 + (i > 0 ? 100 : 0), (i + 1) * w.bytes / 4 + (i < 3 ? 100 : 0), 0 };
		assert_int_equal(pthread_create(&k[i].thread, NULL, work, &k[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		void *said;

		pthread_join(k[i].thread, &said);
		assert_null(said);
	}
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

#define NR_READERS 4
#define MIN(a, b) ((a) < (b) ? (a) : (b))

struct reader {
	struct world *w;
	uint64_t random;
	size_t *cut;     /* bytes before it are discarded */
	unsigned touches;
	unsigned refused; /* touches that failed */
	pthread_t thread;
};

static void start_readers(struct reader *k, struct world *w, void *(*read)(void *), size_t *cut, unsigned touches)
{
	for (unsigned i = 0; i < NR_READERS; i++) {
		k[i] = (struct reader){ .w = w, .random = i + 1, .cut = cut, .touches = touches };
		assert_int_equal(pthread_create(&k[i].thread, NULL, read, &k[i]), 0);
	}
}

static void join_readers(struct reader *k)
{
	for (unsigned i = 0; i < NR_READERS; i++) {
		void *said;

		pthread_join(k[i].thread, &said);
		assert_null(said);
	}
}

static uint8_t byte_at(struct reader *k, size_t at)
{
	return ((volatile uint8_t *)address(k->w))[at];
}

static void *read_at_random(void *arg)
{
	struct reader *k = arg;

	for (unsigned i = 0; i < k->touches; i++) {
		size_t at = below64(&k->random, k->w->bytes);

		if (byte_at(k, at) != k->w->want[at])
			return "wrong byte";
	}
	return NULL;
}

#define NEAR (128 * KIB)

/* What is about to be discarded is asked for, and then what has been: it is zero. */
static void *read_near_the_cut(void *arg)
{
	struct reader *k = arg;
	size_t cut;

	while ((cut = __atomic_load_n(k->cut, __ATOMIC_ACQUIRE)) < k->w->bytes - NEAR) {
		size_t ahead = cut + below64(&k->random, NEAR);
		uint8_t byte = byte_at(k, ahead);

		if (byte != k->w->want[ahead] && byte != 0)
			return "a byte that never was";
		if (cut > 0 && byte_at(k, cut - 1 - below64(&k->random, MIN(cut, 2 * NEAR))) != 0)
			return "a byte that was discarded";
	}
	return NULL;
}

static void threads_that_want_the_same_blocks_have_each_read_once(void **state)
{
	struct world w = world_make(8 * MIB);
	struct reader k[NR_READERS];
	size_t cut = 0;

	(void)state;
	world_open(&w, 16 * MIB, 4 * KIB);
	start_readers(k, &w, read_at_random, &cut, 4000);
	join_readers(k);
	/* None was read ahead, and all have stayed. */
	assert_int_equal(stats_of(&w).pages_in * PAGE, stats_of(&w).resident);
	assert_in_range(stats_of(&w).resident, w.bytes / 2, w.bytes);
	world_end(&w);
}

static void threads_read_no_block_as_it_was_before_it_was_discarded(void **state)
{
	struct world w = world_make(16 * MIB);
	struct reader k[NR_READERS];
	size_t cut = 0;

	(void)state;
	world_open(&w, 4 * MIB, 4 * KIB);
	start_readers(k, &w, read_near_the_cut, &cut, 0);
	for (size_t at = 0; at < w.bytes; at += 16 * KIB) {
		assert_int_equal(stw_discard(w.r, at, 16 * KIB), 0);
		__atomic_store_n(&cut, at + 16 * KIB, __ATOMIC_RELEASE);
	}
	join_readers(k);
	memset(w.want, 0, w.bytes);
	assert_int_equal(stw_close(w.r), 0);
	w.r = NULL;
	check_file(&w);
	world_end(&w);
}

/* The kernel touches for us: it says EFAULT where a touch of ours would raise SIGBUS. */
static void *read_by_the_kernel(void *arg)
{
	struct reader *k = arg;
	int fd = memfd_create("touch", 0);
	char *wrong = NULL;

	for (unsigned i = 0; i < k->touches && wrong == NULL; i++) {
		size_t at = below64(&k->random, k->w->bytes);
		uint8_t byte = 0;
		bool had = pwrite(fd, address(k->w) + at, 1, 0) == 1;

		k->refused += !had;
		if (had != (at < *k->cut))
			wrong = "a touch that should have failed, or should not";
		if (had && (pread(fd, &byte, 1, 0) != 1 || byte != k->w->want[at]))
			wrong = "wrong byte";
	}
	close(fd);
	return wrong;
}

static void threads_that_touch_what_cannot_be_read_fail_and_the_others_go_on(void **state)
{
	struct world w = world_make(8 * MIB);
	size_t there = 7 * MIB;
	struct reader k[NR_READERS];
	unsigned refused = 0;

	(void)state;
	world_open(&w, 4 * MIB, 64 * KIB);
	assert_int_equal(truncate(w.path, (off_t)there), 0);
	start_readers(k, &w, read_by_the_kernel, &there, 100);
	join_readers(k);
	for (unsigned i = 0; i < NR_READERS; i++)
		refused += k[i].refused;
	assert_true(refused > 0);
	assert_int_equal(truncate(w.path, (off_t)w.bytes), 0);
	world_end(&w);
}

static void in_a_child_calls_fail_and_the_parent_goes_on(void **state)
{
	struct world w = world_make(4 * MIB);

	(void)state;
	world_open(&w, 2 * MIB, 64 * KIB);
	write_some(&w, 50);
	pid_t child = fork();

	if (child == 0)
		_exit(stw_flush(w.r, 0, w.bytes) == -ECHILD && stw_close(w.r) == -ECHILD && stw_abandon(w.r) == -ECHILD &&
				      signal_of(address(&w), false) == SIGSEGV ? 0 : 1);
	write_some(&w, 50);
	int status;

	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_memory_equal(address(&w), w.want, w.bytes);
	world_end(&w);
}

static void refused(const struct stw_file_config *c, const char *words)
{
	assert_null(stw_file_open(c));
	if (strstr(stw_error(), words) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", stw_error(), words);
}

static void an_open_that_fails_closes_no_descriptor_of_the_program(void **state)
{
	struct stw_file_config c = STW_FILE_CONFIG;

	(void)state;
	c.path = "/nonexistent/file";
	c.budget = 8 * MIB;
	assert_true(fcntl(0, F_GETFD) >= 0 || open("/dev/null", O_RDONLY) == 0);
	refused(&c, "cannot open");
	assert_true(fcntl(0, F_GETFD) >= 0);
}

static void bad_input_is_refused_with_its_reason(void **state)
{
	struct world w = world_make(MIB), empty = world_make(0);
	struct stw_file_config good = config_of(&w, 8 * MIB, 64 * KIB), c;

	(void)state;
	c = good, c.config_bytes = 1, refused(&c, "STW_FILE_CONFIG");
	c = good, c.path = NULL, refused(&c, "needs a path");
	c = good, c.path = "/nonexistent/file", refused(&c, "cannot open /nonexistent/file: No such file");
	c = good, c.path = "/dev/null", refused(&c, "neither a file nor a block device");
	c = good, c.page = 5000, refused(&c, "pages cannot have 5000 bytes");
	c = good, c.page = 2048, refused(&c, "pages cannot have 2048 bytes");
	c = good, c.page = 4 * MIB, refused(&c, "pages cannot have");
	c = good, c.offset = 100, refused(&c, "no multiple of 4096");
	c = good, c.bytes = 2 * MIB, refused(&c, "has 1048576 bytes, and the region wants 2097152");
	c = good, c.bytes = 2 * MIB, c.create = 1, c.writable = 0, refused(&c, "has 1048576 bytes");
	c = good, c.offset = MIB, refused(&c, "none from offset 1048576 on");
	c = good, c.budget = 64 * KIB, refused(&c, "too small for pages of 65536");
	c = good, c.bytes = SIZE_MAX, refused(&c, "a file cannot have");
	c = good, c.path = empty.path, refused(&c, "has 0 bytes");
	world_end(&w);
	world_end(&empty);
}

/* With an argument: the tests whose names are like it. */
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
		cmocka_unit_test(a_region_that_is_not_writable_cannot_be_written),
		cmocka_unit_test(a_file_that_gets_shorter_raises_sigbus),
		cmocka_unit_test(on_a_full_disk_nothing_is_lost_and_close_says_so),
		cmocka_unit_test(that_the_disk_did_not_take_what_was_written_is_not_forgotten),
		cmocka_unit_test(threads_share_a_file),
		cmocka_unit_test(threads_that_want_the_same_blocks_have_each_read_once),
		cmocka_unit_test(threads_read_no_block_as_it_was_before_it_was_discarded),
		cmocka_unit_test(threads_that_touch_what_cannot_be_read_fail_and_the_others_go_on),
		cmocka_unit_test(in_a_child_calls_fail_and_the_parent_goes_on),
		cmocka_unit_test(an_open_that_fails_closes_no_descriptor_of_the_program),
		cmocka_unit_test(bad_input_is_refused_with_its_reason),
	};

	if (!regions_are_allowed())
		return 0;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

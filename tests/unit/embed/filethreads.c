/* Regions of files that several threads use. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "allowed.h"
#include "world.h"
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_file),
		cmocka_unit_test(threads_that_want_the_same_blocks_have_each_read_once),
		cmocka_unit_test(threads_read_no_block_as_it_was_before_it_was_discarded),
		cmocka_unit_test(threads_that_touch_what_cannot_be_read_fail_and_the_others_go_on),
	};

	return tests_begin(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

/* Regions of memory through the public header: each page against the pattern it was filled with. */
#include <errno.h>
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "allowed.h"
#include "base/page.h"
#include "resident.h"
#include "steward/steward.h"

#define MIB ((size_t)1 << 20)
#define BUDGET (8 * MIB)
#define SIZE (4 * BUDGET)
#define PAGES (SIZE / PAGE)

static struct stw_region *open_config(const struct stw_memory_config *c)
{
	struct stw_region *r = stw_memory_open(c);

	if (r == NULL)
		print_error("%s\n", stw_error());
	assert_non_null(r);
	return r;
}

static struct stw_region *open_sized(size_t bytes, size_t budget)
{
	struct stw_memory_config c = STW_MEMORY_CONFIG;

	c.bytes = bytes;
	c.budget = budget;
	return open_config(&c);
}

static uint8_t *page_at(struct stw_region *r, size_t i) { return (uint8_t *)stw_address(r) + i * PAGE; }

/*
 * The pattern of a page: words of its number and generation in every 32nd place, and one that repeats in between. It
 * compresses tenfold, so that four budgets fit into the pool and no test waits for a disk.
 */
static uint64_t word_of(size_t page, uint64_t gen, unsigned at)
{
	return mix64(page * 1000 + gen + (at % 32 == 0 ? at : 1));
}

static void fill(struct stw_region *r, size_t from, size_t to, uint64_t gen)
{
	for (size_t i = from; i < to; i++)
		for (unsigned at = 0; at < PAGE_WORDS; at++)
			((uint64_t *)page_at(r, i))[at] = word_of(i, gen, at);
}

static bool holds(const uint64_t *w, size_t page, uint64_t gen)
{
	for (unsigned at = 0; at < PAGE_WORDS; at++)
		if (w[at] != word_of(page, gen, at))
			return false;
	return true;
}

static void check(struct stw_region *r, size_t from, size_t to, uint64_t gen)
{
	for (size_t i = from; i < to; i++)
		assert_true(holds((uint64_t *)page_at(r, i), i, gen));
}

static struct stw_stats stats_of(struct stw_region *r)
{
	struct stw_stats s;

	assert_int_equal(stw_stats(r, &s, sizeof(s)), 0);
	return s;
}

static void four_budgets_are_filled_and_read_back(void **state)
{
	size_t before = resident(), most = 0;
	struct stw_region *r = open_sized(SIZE, BUDGET);
	uint64_t random = 7;

	(void)state;
	for (size_t i = 0; i < PAGES; i += PAGES / 64) {
		fill(r, i, i + PAGES / 64, 1);
		size_t now = resident();

		most = now > most ? now : most;
	}
	check(r, 0, PAGES, 1);
	for (unsigned i = 0; i < 4000; i++) {
		size_t p = below64(&random, PAGES);

		check(r, p, p + 1, 1);
	}
	struct stw_stats s = stats_of(r);

	/* The budget, and what a test program itself takes meanwhile. */
	assert_in_range(most - before, BUDGET / 2, BUDGET + MIB);
	assert_in_range(s.resident + s.pool, BUDGET / 2, BUDGET);
	assert_int_equal(s.resident + s.out, SIZE);
	assert_true(s.faults_major > 0 && s.faults >= s.faults_zero + s.faults_soft + s.faults_major);
	assert_int_equal(s.errors, 0);
	assert_int_equal(stw_close(r), 0);
	assert_true(resident() < before + MIB);
}

static void untouched_pages_are_zeros_and_the_size_is_what_was_asked_for(void **state)
{
	struct stw_region *r = open_sized(3 * PAGE + 1, BUDGET);

	(void)state;
	assert_int_equal(stw_bytes(r), 3 * PAGE + 1);
	assert_int_equal((uintptr_t)stw_address(r) % PAGE, 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(page_check_zero(page_at(r, i)), -1);
	stw_close(r);
}

static void all_policies_serve(void **state)
{
	static const char *const names[] = { "second-chance", "two-list", "clock", "mglru", "s3-fifo", "random" };

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct stw_memory_config c = STW_MEMORY_CONFIG;

		c.bytes = 8 * MIB;
		c.budget = 4 * MIB;
		c.policy = names[i];
		struct stw_region *r = open_config(&c);

		fill(r, 0, 8 * MIB / PAGE, i);
		check(r, 0, 8 * MIB / PAGE, i);
		stw_close(r);
	}
}

static void system_calls_read_and_write_pages_that_are_out(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);
	FILE *f = tmpfile();

	(void)state;
	fill(r, 0, PAGES, 5);
	assert_int_equal(pwrite(fileno(f), page_at(r, 0), MIB, 0), MIB);
	assert_int_equal(pread(fileno(f), page_at(r, PAGES / 2), MIB, 0), MIB);
	for (size_t i = 0; i < MIB / PAGE; i++)
		assert_true(holds((uint64_t *)page_at(r, PAGES / 2 + i), i, 5));
	fclose(f);
	stw_close(r);
}

static void two_regions_know_nothing_of_each_other(void **state)
{
	struct stw_region *a = open_sized(SIZE, BUDGET), *b = open_sized(SIZE, BUDGET);

	(void)state;
	for (size_t i = 0; i < PAGES; i++) {
		fill(a, i, i + 1, 1);
		fill(b, i, i + 1, 2);
	}
	check(a, 0, PAGES, 1);
	stw_close(a);
	check(b, 0, PAGES, 2);
	stw_close(b);
}

/* Hints. */

static void discarded_pages_are_zeros_and_the_others_stay(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);

	(void)state;
	fill(r, 0, PAGES, 1);
	/* Parts of pages are kept. */
	assert_int_equal(stw_discard(r, 100 * PAGE - 1, 3000 * PAGE + 2), 0);
	check(r, 0, 100, 1);
	for (size_t i = 100; i < 3100; i++)
		assert_int_equal(page_check_zero(page_at(r, i)), -1);
	check(r, 3100, PAGES, 1);
	fill(r, 100, 3100, 2);
	check(r, 100, 3100, 2);
	/* Those that have just been touched are in memory. */
	assert_int_equal(stw_discard(r, 3000 * PAGE, 100 * PAGE), 0);
	for (size_t i = 3000; i < 3100; i++)
		assert_int_equal(page_check_zero(page_at(r, i)), -1);
	check(r, 100, 3000, 2);
	stw_close(r);
}

static void prefetched_pages_need_no_fault(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);

	(void)state;
	fill(r, 0, PAGES, 1);
	assert_int_equal(stw_prefetch(r, 0, BUDGET / 8), 0);
	uint64_t before = stats_of(r).faults;

	check(r, 0, BUDGET / 8 / PAGE, 1);
	assert_in_range(stats_of(r).faults - before, 0, 8);
	assert_int_equal(stw_prefetch(r, 0, SIZE), 0);
	check(r, 0, PAGES, 1);
	stw_close(r);
}

static void pinned_pages_stay_whatever_else_is_touched(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);
	size_t pinned = BUDGET / 4 / PAGE;

	(void)state;
	fill(r, 0, PAGES, 1);
	assert_int_equal(stw_pin(r, 0, pinned * PAGE), 0);
	assert_int_equal(stw_pin(r, 0, pinned * PAGE), 0);
	assert_int_equal(stats_of(r).pinned, pinned * PAGE);
	check(r, pinned, PAGES, 1);
	uint64_t before = stats_of(r).faults;

	check(r, 0, pinned, 1);
	assert_int_equal(stats_of(r).faults, before);
	/* Not more than half. */
	assert_int_equal(stw_pin(r, 0, BUDGET / 2 + PAGE), -ENOMEM);
	assert_non_null(strstr(stw_error(), "half of the budget"));
	assert_int_equal(stw_unpin(r, 0, SIZE), 0);
	assert_int_equal(stats_of(r).pinned, 0);
	check(r, 0, PAGES, 1);
	stw_close(r);
}

/* Pages of [from, to) that a touch would find. */
static size_t present(struct stw_region *r, size_t from, size_t to)
{
	unsigned char *vec = malloc(to - from);
	size_t n = 0;

	assert_int_equal(mincore(page_at(r, from), (to - from) * PAGE, vec), 0);
	for (size_t i = 0; i < to - from; i++)
		n += vec[i] & 1;
	free(vec);
	return n;
}

static void cold_pages_leave_first(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);
	size_t half = BUDGET / 4 / PAGE;

	(void)state;
	/* Two parts, both in memory; the older one would go first, were the younger one not cold. */
	fill(r, 0, 2 * half, 1);
	assert_int_equal(stw_cold(r, half * PAGE, half * PAGE), 0);
	fill(r, 2 * half, 4 * half, 1);
	assert_true(present(r, half, 2 * half) < present(r, 0, half));
	check(r, 0, 4 * half, 1);
	stw_close(r);
}

/* Places. */

static void what_does_not_compress_goes_to_a_file(void **state)
{
	struct stw_memory_config c = STW_MEMORY_CONFIG;
	uint64_t random = 99;

	(void)state;
	c.bytes = SIZE;
	c.budget = BUDGET;
	c.swap_dir = "/var/tmp";
	struct stw_region *r = open_config(&c);
	uint64_t *w = stw_address(r);

	for (size_t i = 0; i < SIZE / 8; i++)
		w[i] = next64(&random);
	random = 99;
	for (size_t i = 0; i < SIZE / 8; i++)
		assert_true(w[i] == next64(&random));
	assert_int_equal(stats_of(r).errors, 0);
	stw_close(r);
}

/* A store in plain memory that can be told to fail or to lie. */
struct memory_store {
	uint8_t *bytes;
	uint64_t size;
	_Atomic int write_err, read_err;
	_Atomic bool lies;
	_Atomic unsigned writes, reads;
};

static int ms_write(void *ctx, uint64_t offset, const struct iovec *pages, int n)
{
	struct memory_store *s = ctx;

	s->writes++;
	if (s->write_err != 0)
		return s->write_err;
	for (int i = 0; i < n; offset += pages[i++].iov_len)
		memcpy(s->bytes + offset, pages[i].iov_base, pages[i].iov_len);
	return offset <= s->size ? 0 : -EINVAL;
}

static int ms_read(void *ctx, uint64_t offset, const struct iovec *pages, int n)
{
	struct memory_store *s = ctx;

	s->reads++;
	if (s->read_err != 0)
		return s->read_err;
	for (int i = 0; i < n; offset += pages[i++].iov_len) {
		memcpy(pages[i].iov_base, s->bytes + offset, pages[i].iov_len);
		if (s->lies)
			((uint8_t *)pages[i].iov_base)[77] ^= 1;
	}
	return 0;
}

static struct stw_region *open_with_store(struct memory_store *s, uint64_t size)
{
	struct stw_store store = { ms_write, ms_read, s, size };
	struct stw_memory_config c = STW_MEMORY_CONFIG;

	*s = (struct memory_store){ .bytes = malloc(size), .size = size };
	c.bytes = SIZE;
	c.budget = BUDGET;
	c.store = &store;
	return open_config(&c);
}

/* Nothing that the pool could take: every page is random throughout. */
static void fill_random(struct stw_region *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		uint64_t s = mix64(i) | 1, *w = (uint64_t *)page_at(r, i);

		for (unsigned k = 0; k < PAGE_WORDS; k++)
			w[k] = next64(&s);
	}
}

static bool is_random(struct stw_region *r, size_t i)
{
	uint64_t s = mix64(i) | 1;
	const uint64_t *w = (const uint64_t *)page_at(r, i);

	for (unsigned k = 0; k < PAGE_WORDS; k++)
		if (w[k] != next64(&s))
			return false;
	return true;
}

static void the_programs_own_store_keeps_what_does_not_fit(void **state)
{
	struct memory_store s;
	struct stw_region *r = open_with_store(&s, SIZE);

	(void)state;
	fill_random(r, 0, PAGES);
	for (size_t i = 0; i < PAGES; i++)
		assert_true(is_random(r, i));
	assert_true(s.writes > 0 && s.reads > 0);
	stw_close(r);
	free(s.bytes);
}

static void a_store_that_fails_for_a_while_loses_nothing(void **state)
{
	struct memory_store s;
	struct stw_region *r = open_with_store(&s, SIZE);

	(void)state;
	fill_random(r, 0, PAGES / 2);
	s.read_err = -EIO;
	assert_int_equal(stw_prefetch(r, 0, MIB), -EIO);
	assert_non_null(strstr(stw_error(), "the program's own store"));
	s.read_err = 0;
	for (size_t i = 0; i < PAGES / 2; i++)
		assert_true(is_random(r, i));
	stw_close(r);
	free(s.bytes);
}

/* What a touch raises. */

static sigjmp_buf jump;
static volatile sig_atomic_t raised;

static void on_signal(int sig)
{
	raised = sig;
	siglongjmp(jump, 1);
}

/* The signal that this raises; 0: none. */
static int signal_of(void (*act)(struct stw_region *r, size_t page), struct stw_region *r, size_t page)
{
	struct sigaction action = { .sa_handler = on_signal }, bus, segv;

	raised = 0;
	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	if (sigsetjmp(jump, 1) == 0)
		act(r, page);
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return raised;
}

static void touch(struct stw_region *r, size_t page) { (void)*(volatile uint8_t *)page_at(r, page); }
static void write_random(struct stw_region *r, size_t page) { fill_random(r, page, page + 1); }

static size_t first_out(struct stw_region *r)
{
	size_t i = 0;

	while (i < PAGES && present(r, i, i + 1) == 1)
		i++;
	assert_true(i < PAGES);
	return i;
}

static void a_store_that_lies_raises_sigbus_and_the_page_is_not_given(void **state)
{
	struct memory_store s;
	struct stw_region *r = open_with_store(&s, SIZE);

	(void)state;
	fill_random(r, 0, PAGES);
	size_t out = first_out(r);

	s.lies = true;
	assert_int_equal(signal_of(touch, r, out), SIGBUS);
	assert_int_equal(stw_prefetch(r, out * PAGE, PAGE), -EIO);
	assert_non_null(strstr(stw_error(), "not what was written"));
	assert_true(stats_of(r).errors > 0);
	/* It told the truth when it was asked for another page, and tells it again of this one. */
	s.lies = false;
	assert_int_equal(stw_prefetch(r, out * PAGE, PAGE), 0);
	assert_int_equal(signal_of(touch, r, out), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_true(is_random(r, i));
	stw_close(r);
	free(s.bytes);
}

static void when_all_places_are_full_a_touch_raises_sigbus_and_nothing_is_lost(void **state)
{
	struct memory_store s;
	struct stw_region *r = open_with_store(&s, 4 * MIB);
	size_t last;

	(void)state;
	for (last = 0; last < PAGES && signal_of(write_random, r, last) == 0;)
		last++;
	assert_in_range(last, 8 * MIB / PAGE, 16 * MIB / PAGE);
	assert_int_equal(raised, SIGBUS);
	assert_int_equal(stw_pin(r, last * PAGE, PAGE), -ENOMEM);
	/* Room comes, and with it the page. */
	assert_int_equal(stw_discard(r, 0, 2 * MIB), 0);
	assert_int_equal(stw_prefetch(r, last * PAGE, PAGE), 0);
	assert_int_equal(page_check_zero(page_at(r, last)), -1);
	for (size_t i = 2 * MIB / PAGE; i < last; i++)
		assert_true(is_random(r, i));
	stw_close(r);
	free(s.bytes);
}

/* Processes and threads. */

static void in_a_child_the_memory_is_not_there_and_calls_say_so(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);

	(void)state;
	fill(r, 0, PAGES, 1);
	pid_t child = fork();

	if (child == 0) {
		struct stw_stats s;
		bool ok = signal_of(touch, r, 0) == SIGSEGV && stw_stats(r, &s, sizeof(s)) == -ECHILD &&
			  stw_prefetch(r, 0, PAGE) == -ECHILD && strstr(stw_error(), "forked") != NULL && stw_close(r) == -ECHILD;
		/* One of its own. */
		struct stw_region *mine = open_sized(SIZE, BUDGET);

		fill(mine, 0, PAGES, 2);
		check(mine, 0, PAGES, 2);
		stw_close(mine);
		_exit(ok ? 0 : 1);
	}
	check(r, 0, PAGES, 1);
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	check(r, 0, PAGES, 1);
	stw_close(r);
}

struct worker {
	struct stw_region *r;
	size_t from, to;
	unsigned number;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint64_t gen = 0; gen < 3; gen++) {
		fill(w->r, w->from, w->to, gen);
		if (w->number % 2 == 0)
			stw_prefetch(w->r, w->from * PAGE, (w->to - w->from) * PAGE);
		check(w->r, w->from, w->to, gen);
		stw_discard(w->r, w->from * PAGE, PAGE);
		if (page_check_zero(page_at(w->r, w->from)) != -1)
			return "discarded, and not zero";
	}
	return NULL;
}

static void threads_share_a_region(void **state)
{
	struct stw_region *r = open_sized(SIZE, BUDGET);
	struct worker w[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct worker){ r, i * PAGES / 4, (i + 1) * PAGES / 4, i, 0 };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		void *said;

		pthread_join(w[i].thread, &said);
		assert_null(said);
	}
	stw_close(r);
}

struct toucher {
	const uint8_t *at;
	_Atomic bool begun;
	bool segv;
	pthread_t thread;
};

static __thread sigjmp_buf thread_jump;

static void on_thread_signal(int sig)
{
	(void)sig;
	siglongjmp(thread_jump, 1);
}

static void *touch_until_gone(void *arg)
{
	struct toucher *t = arg;

	if (sigsetjmp(thread_jump, 1) != 0) {
		t->segv = true;
		return NULL;
	}
	for (size_t i = 0;; i = (i + 61) % PAGES) {
		(void)*(const volatile uint8_t *)(t->at + i * PAGE);
		t->begun = true;
	}
}

static void threads_that_fault_while_a_region_is_closed_get_sigsegv(void **state)
{
	struct sigaction action = { .sa_handler = on_thread_signal }, before;

	(void)state;
	sigaction(SIGSEGV, &action, &before);
	for (unsigned round = 0; round < 5; round++) {
		struct stw_region *r = open_sized(SIZE, BUDGET);
		struct toucher t[3];

		fill(r, 0, PAGES, 1);
		/* With a copy of all descriptors. */
		pid_t child = fork();

		if (child == 0) {
			pause();
			_exit(0);
		}
		for (unsigned i = 0; i < 3; i++) {
			t[i] = (struct toucher){ .at = stw_address(r) };
			assert_int_equal(pthread_create(&t[i].thread, NULL, touch_until_gone, &t[i]), 0);
		}
		for (unsigned i = 0; i < 3; i++)
			while (!t[i].begun)
				usleep(100);
		assert_int_equal(stw_close(r), 0);
		for (unsigned i = 0; i < 3; i++) {
			pthread_join(t[i].thread, NULL);
			assert_true(t[i].segv);
		}
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	sigaction(SIGSEGV, &before, NULL);
}

/* What is refused. */

static void refused(const struct stw_memory_config *c, const char *words)
{
	assert_null(stw_memory_open(c));
	if (strstr(stw_error(), words) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", stw_error(), words);
}

static void bad_input_is_refused_with_its_reason(void **state)
{
	struct stw_memory_config good = STW_MEMORY_CONFIG, c;
	struct stw_store half = { ms_write, NULL, NULL, 1 << 20 };

	(void)state;
	good.bytes = SIZE;
	good.budget = BUDGET;
	c = good, c.config_bytes = 3, refused(&c, "STW_MEMORY_CONFIG");
	c = good, c.bytes = 0, refused(&c, "cannot have 0 bytes");
	c = good, c.bytes = SIZE_MAX, refused(&c, "cannot have");
	c = good, c.bytes = (size_t)1 << 46, c.budget = (size_t)1 << 46, refused(&c, "more than a region can have");
	c = good, c.budget = 4 * MIB - 1, refused(&c, "too small");
	c = good, c.policy = "opt", refused(&c, "no policy \"opt\"");
	c = good, c.policy = "nonsense", refused(&c, "no policy \"nonsense\"");
	c = good, c.swap_dir = "/nonexistent", refused(&c, "/nonexistent: No such file");
	c = good, c.store = &half, refused(&c, "store needs");

	struct stw_region *r = open_config(&good);

	assert_int_equal(stw_prefetch(r, SIZE, 1), -EINVAL);
	assert_non_null(strstr(stw_error(), "not within"));
	assert_int_equal(stw_discard(r, 1, SIZE_MAX), -EINVAL);
	assert_int_equal(stw_prefetch(r, SIZE, 0), 0);
	stw_close(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_budgets_are_filled_and_read_back),
		cmocka_unit_test(untouched_pages_are_zeros_and_the_size_is_what_was_asked_for),
		cmocka_unit_test(all_policies_serve),
		cmocka_unit_test(system_calls_read_and_write_pages_that_are_out),
		cmocka_unit_test(two_regions_know_nothing_of_each_other),
		cmocka_unit_test(discarded_pages_are_zeros_and_the_others_stay),
		cmocka_unit_test(prefetched_pages_need_no_fault),
		cmocka_unit_test(pinned_pages_stay_whatever_else_is_touched),
		cmocka_unit_test(cold_pages_leave_first),
		cmocka_unit_test(what_does_not_compress_goes_to_a_file),
		cmocka_unit_test(the_programs_own_store_keeps_what_does_not_fit),
		cmocka_unit_test(a_store_that_fails_for_a_while_loses_nothing),
		cmocka_unit_test(a_store_that_lies_raises_sigbus_and_the_page_is_not_given),
		cmocka_unit_test(when_all_places_are_full_a_touch_raises_sigbus_and_nothing_is_lost),
		cmocka_unit_test(in_a_child_the_memory_is_not_there_and_calls_say_so),
		cmocka_unit_test(threads_share_a_region),
		cmocka_unit_test(threads_that_fault_while_a_region_is_closed_get_sigsegv),
		cmocka_unit_test(bad_input_is_refused_with_its_reason),
	};

	return tests_begin(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

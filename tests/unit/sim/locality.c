/*
 * The working set and the miss curve against a list of pages that is moved by hand and windows that are counted by going
 * through all touches: naive, and right by looking at it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "sim/locality.h"
#include "failalloc.h"

#define TASKS 3
#define PAGES 300
#define STEPS 20000

static struct rand rng;

/* --- the oracle --- */

struct name {
	uint32_t task;
	uint64_t vpn;
};

struct model {
	struct name stack[TASKS * PAGES]; /* most recent first */
	size_t n;
	uint64_t distance[TASKS * PAGES + 1];
	/* Every touch, for the windows: which page it was, counting those of a task that began again as others. */
	struct {
		uint64_t now, page;
	} touch[STEPS];
	size_t nr_touches;
	uint64_t now, generation[TASKS];
};

static void model_forget(struct model *m, uint32_t task, uint64_t start, uint64_t end)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->stack[i].task != task || m->stack[i].vpn < start || m->stack[i].vpn >= end)
			m->stack[kept++] = m->stack[i];
	m->n = kept;
}

static void model_touch(struct model *m, uint32_t task, uint64_t vpn)
{
	size_t at = 0;

	while (at < m->n && (m->stack[at].task != task || m->stack[at].vpn != vpn))
		at++;
	if (at < m->n)
		m->distance[at + 1]++;
	else
		m->n++;
	memmove(&m->stack[1], &m->stack[0], at * sizeof(m->stack[0]));
	m->stack[0] = (struct name){ task, vpn };
	m->touch[m->nr_touches].now = m->now;
	m->touch[m->nr_touches++].page = (m->generation[task] * TASKS + task) << 40 | vpn;
}

/* Both have no page in [to, to + n) but what was in [from, from + n). */
static void model_move(struct model *m, uint32_t task, uint64_t from, uint64_t to, uint64_t n)
{
	model_forget(m, task, to, to + n);
	for (size_t i = 0; i < m->n; i++)
		if (m->stack[i].task == task && m->stack[i].vpn >= from && m->stack[i].vpn < from + n)
			m->stack[i].vpn += to - from;
}

static uint64_t model_misses(const struct model *m, uint64_t pages)
{
	uint64_t n = 0;

	for (size_t d = 1; d <= TASKS * PAGES; d++)
		n += d > pages ? m->distance[d] : 0;
	return n;
}

static int by_page(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint32_t model_window(const struct model *m, uint64_t start, uint64_t end)
{
	static uint64_t page[STEPS];
	size_t n = 0;
	uint32_t different = 0;

	for (size_t i = 0; i < m->nr_touches; i++)
		if (m->touch[i].now >= start && m->touch[i].now < end)
			page[n++] = m->touch[i].page;
	qsort(page, n, sizeof(page[0]), by_page);
	for (size_t i = 0; i < n; i++)
		different += i == 0 || page[i] != page[i - 1];
	return different;
}

/* --- comparison --- */

static void compare(const struct locality *l, const struct model *m)
{
	uint32_t pages[LOCALITY_WINDOWS];
	uint64_t length;

	locality_check(l);
	for (uint64_t size = 0; size <= TASKS * PAGES; size += 1 + size / 8)
		assert_int_equal(locality_misses(l, size), model_misses(m, size));
	assert_int_equal(locality_now(l), m->now);
	assert_int_equal(locality_pages(l), model_window(m, 0, UINT64_MAX));
	for (unsigned scale = 0; scale < 6; scale++) {
		unsigned n = locality_windows(l, scale, &length, pages);

		assert_true(n <= LOCALITY_WINDOWS && (n - 1) * length <= m->now && m->now < n * length);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(pages[i], model_window(m, i * length, (i + 1) * length));
	}
}

/* Near the last one, mostly: some pages are hot, some loop, some come once. */
static uint64_t some_page(uint64_t step)
{
	switch (rand_below(&rng, 4)) {
	case 0:
		return rand_below(&rng, PAGES);
	case 1:
		return step % PAGES;
	default:
		return rand_below(&rng, 20);
	}
}

/* Without moves: where a page goes to is the same page for the windows, and the model names pages by address. */
static void random_event(struct trace_event *e, struct model *m, bool timed, uint64_t step)
{
	*e = (struct trace_event){ .op = TRACE_ACCESS, .task = (uint32_t)rand_below(&rng, TASKS), .vpn = some_page(step), .n = 1 };
	switch (rand_below(&rng, 200)) {
	case 0:
		e->op = rand_below(&rng, 2) ? TRACE_MUNMAP : TRACE_DROP;
		e->n = rand_below(&rng, 3) == 0 ? UINT64_C(1) << 40 : 1 + rand_below(&rng, PAGES);
		model_forget(m, e->task, e->vpn, e->vpn + e->n);
		return;
	case 1:
		if (rand_below(&rng, 4) == 0) {
			e->op = TRACE_EXIT;
			model_forget(m, e->task, 0, UINT64_MAX);
			m->generation[e->task]++;
			return;
		}
		break;
	case 2:
	case 3:
		if (timed) {
			e->op = TRACE_TIME;
			e->arg = rand_below(&rng, 5000);
			m->now += e->arg;
			return;
		}
		break;
	default:
		break;
	}
	e->n = 1 + rand_below(&rng, 3);
	model_touch(m, e->task, e->vpn);
	m->now += timed ? 0 : e->n;
}

static void follow(bool timed, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));
	struct locality *l = locality_create(timed);
	struct trace_event e;

	rand_seed(&rng, seed);
	assert_non_null(l);
	assert_non_null(m);
	for (uint64_t step = 0; step < STEPS; step++) {
		random_event(&e, m, timed, step);
		assert_int_equal(locality_event(l, &e), 0);
		if (step % 4001 == 0 || step == 70)
			compare(l, m);
	}
	compare(l, m);
	locality_destroy(l);
	free(m);
}

static void test_random_touches_as_the_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		follow(false, seed);
		follow(true, seed);
	}
}

static void touch(struct locality *l, uint64_t vpn)
{
	const struct trace_event e = { .op = TRACE_ACCESS, .vpn = vpn, .n = 1 };

	assert_int_equal(locality_event(l, &e), 0);
}

/* 10 rounds over 100 pages: LRU keeps all of them or none. */
static void test_a_loop_misses_everything_or_nothing(void **state)
{
	struct locality *l = locality_create(false);

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		touch(l, i % 100);
	assert_int_equal(locality_pages(l), 100);
	assert_int_equal(locality_misses(l, 0), 900);
	assert_int_equal(locality_misses(l, 99), 900);
	assert_int_equal(locality_misses(l, 100), 0);
	locality_destroy(l);
}

/* Stamps are given out anew many times, and the tree grows. */
static void test_many_pages(void **state)
{
	struct locality *l = locality_create(false);

	(void)state;
	for (unsigned i = 0; i < 60000; i++)
		touch(l, (uint64_t)i % 20000 * 977);
	locality_check(l);
	assert_int_equal(locality_misses(l, 19999), 40000);
	assert_int_equal(locality_misses(l, 20000), 0);
	locality_destroy(l);
}

static void test_moved_pages_keep_their_places(void **state)
{
	struct locality *l = locality_create(false);
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	rand_seed(&rng, 7);
	for (unsigned step = 0; step < 3000; step++) {
		uint64_t vpn = rand_below(&rng, PAGES), to = rand_below(&rng, PAGES - 40), n = 1 + rand_below(&rng, 40);

		if (step % 50 == 49) {
			struct trace_event e = { .op = TRACE_MREMAP, .vpn = vpn, .n = MIN(n, PAGES - vpn), .arg = to };

			/* As mremap(2) demands. */
			if (e.vpn < e.arg + e.n && e.arg < e.vpn + e.n)
				continue;
			assert_int_equal(locality_event(l, &e), 0);
			model_move(m, 0, e.vpn, e.arg, e.n);
			locality_check(l);
		}
		touch(l, vpn);
		model_touch(m, 0, vpn);
		m->now++;
	}
	for (uint64_t size = 0; size <= PAGES; size++)
		assert_int_equal(locality_misses(l, size), model_misses(m, size));
	locality_destroy(l);
	free(m);
}

/* Ranges of which next to nothing was ever touched: from the low addresses far up, and back. */
static void test_large_ranges_move_as_small_ones(void **state)
{
	struct locality *l = locality_create(false);
	struct model *m = calloc(1, sizeof(*m));
	const uint64_t n = UINT64_C(1) << 40;

	(void)state;
	rand_seed(&rng, 8);
	for (unsigned step = 0; step < 3000; step++) {
		uint64_t vpn = rand_below(&rng, PAGES), to = rand_below(&rng, 3) * n;

		if (step % 100 == 99) {
			struct trace_event e = { .op = TRACE_MREMAP, .vpn = rand_below(&rng, 3) * n + PAGES / 2, .n = n - PAGES,
						 .arg = to + PAGES / 3 };

			if (e.vpn < e.arg + e.n && e.arg < e.vpn + e.n)
				continue;
			assert_int_equal(locality_event(l, &e), 0);
			model_move(m, 0, e.vpn, e.arg, e.n);
			locality_check(l);
		}
		touch(l, to + vpn);
		model_touch(m, 0, to + vpn);
		m->now++;
	}
	for (uint64_t size = 0; size <= TASKS * PAGES; size++)
		assert_int_equal(locality_misses(l, size), model_misses(m, size));
	locality_destroy(l);
	free(m);
}

/* Whatever fails: it is said, and the laws hold. */
static void test_no_memory(void **state)
{
	(void)state;
	for (unsigned nth = 1; nth < 40; nth++) {
		struct locality *l;
		bool failed = false;

		fail_nth = nth;
		l = locality_create(false);
		for (unsigned i = 0; l != NULL && i < 20000; i++) {
			const struct trace_event e = { .op = TRACE_ACCESS, .task = i % 2 * 100, .vpn = i % 6000 * 64, .n = 1 };
			int err = locality_event(l, &e);

			assert_true(err == 0 || err == -ENOMEM);
			failed |= err != 0;
		}
		assert_true(failed == (fail_nth == 0 && l != NULL));
		fail_nth = 0;
		if (l != NULL)
			locality_check(l);
		locality_destroy(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_touches_as_the_model),
		cmocka_unit_test(test_a_loop_misses_everything_or_nothing),
		cmocka_unit_test(test_many_pages),
		cmocka_unit_test(test_moved_pages_keep_their_places),
		cmocka_unit_test(test_large_ranges_move_as_small_ones),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

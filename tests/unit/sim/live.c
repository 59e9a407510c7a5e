/*
 * Machines that work as the live engine does: kswapd on the program's CPU, faults that wait for it, a time before the
 * manager is engaged. Expected are figures worked out by hand from the rules in live/native.c and live/handler.c.
 */
#include "machine.h"
#include "mm/backing/readahead.h"

#include "base/rand.h"
#include "mm/reclaim/reclaim.h"

/* 4096 frames: MIN is the root of 16 × 16384 KiB, 128 frames; a quarter of that between the marks. */
enum { FRAMES = 4096, MIN_FREE = 128, LOW_FREE = 160, HIGH_FREE = 192, WINDOW = RA_MAX, BATCH = 16, PAGES = 8000, BASE = 512 * 64 };

static void live_config(struct sim_config *c, enum sim_kswapd kswapd)
{
	machine_config(c, FRAMES);
	c->content = false;
	c->cpus = 1;
	c->accessed_bits = false;
	c->kswapd = kswapd;
	snprintf(c->policy, sizeof(c->policy), "second-chance");
	machine_swap(c, SIM_SWAP_COMPRESSED, 0, 1);
}

static void marks_are_those_worked_out(void **state)
{
	struct sim_config c;

	(void)state;
	live_config(&c, SIM_KSWAPD_OWN);
	struct sim *s = machine_make(&c);

	assert_int_equal(phys_wmark(&s->m.phys, 0, WMARK_MIN), MIN_FREE);
	assert_int_equal(phys_wmark(&s->m.phys, 0, WMARK_LOW), LOW_FREE);
	assert_int_equal(phys_wmark(&s->m.phys, 0, WMARK_HIGH), HIGH_FREE);
	sim_destroy(s);
}

static void faults_wait_near_min_until_a_window_is_free(void **state)
{
	static const struct {
		uint32_t free, window, wanted;
	} row[] = {
		{ MIN_FREE + 16, 16, 0 },
		{ MIN_FREE + 15, 16, MIN_FREE + 16 + BATCH },
		{ MIN_FREE, 0, 0 },
		{ MIN_FREE - 1, 0, MIN_FREE + BATCH },
		{ HIGH_FREE, 200, 0 },
		{ HIGH_FREE - 1, 200, HIGH_FREE },
	};
	static struct frame *taken[FRAMES];
	struct sim_config c;
	unsigned n = 0;

	(void)state;
	live_config(&c, SIM_KSWAPD_OWN);
	struct sim *s = machine_make(&c);

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		while (phys_free_frames(&s->m.phys, 0) > row[i].free)
			taken[n++] = frame_alloc(&s->m.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
		while (phys_free_frames(&s->m.phys, 0) < row[i].free)
			frame_free(&s->m.phys, taken[--n], 0);
		assert_int_equal(kswapd_throttle(&s->m, 0, row[i].window), row[i].wanted);
	}
	while (n > 0)
		frame_free(&s->m.phys, taken[--n], 0);
	sim_destroy(s);
}

/* Free frames after each of many faults of random touches, once memory is full. */
struct levels {
	uint32_t min, max;
	double mean, kswapd, elapsed;
	uint64_t faults, stalls, wakes;
};

static struct levels levels_with(enum sim_kswapd kswapd)
{
	struct levels l = { .min = UINT32_MAX };
	struct sim_config c;
	struct rand r;
	double sum = 0;
	unsigned n = 0;

	live_config(&c, kswapd);
	struct sim *s = machine_make(&c);

	task_begin(s, 1);
	task_mmap(s, 1, BASE, PAGES, TRACE_R | TRACE_W, 0, 0);
	rand_seed(&r, 3);
	for (unsigned i = 0; i < 60000; i++) {
		uint64_t faults = s->counter[VM_pgfault];

		task_touch(s, 1, BASE + rand_below(&r, PAGES), TRACE_W);
		if (i < 20000 || s->counter[VM_pgfault] == faults)
			continue;
		uint32_t free = phys_free_frames(&s->m.phys, 0);

		l.min = MIN(l.min, free);
		l.max = MAX(l.max, free);
		sum += free;
		n++;
	}
	l.mean = sum / n;
	l.faults = n;
	l.kswapd = (double)s->counter[VM_kswapd_ns];
	l.elapsed = sim_now(s);
	l.stalls = s->counter[VM_allocstall];
	l.wakes = s->counter[VM_kswapd_wake];
	sim_check(s);
	sim_destroy(s);
	return l;
}

/* A fault takes one frame of the user's, and a table now and then; a step of reclaim frees 8 and packs them into 3. */
enum { FAULT_TAKES = 2, STEP_FREES = 8 };

static void kswapd_that_comes_first_keeps_memory_between_low_and_high(void **state)
{
	struct levels l = levels_with(SIM_KSWAPD_FIRST);

	(void)state;
	assert_in_range(l.min, LOW_FREE - FAULT_TAKES, LOW_FREE);
	assert_in_range(l.max, HIGH_FREE - FAULT_TAKES, HIGH_FREE + STEP_FREES);
	assert_true(l.mean > LOW_FREE + 8 && l.mean < HIGH_FREE - 8);
	assert_int_equal(l.stalls, 0);
	/* The program stood still meanwhile. */
	assert_true(l.kswapd > 0 && l.kswapd < l.elapsed);
}

static void kswapd_that_comes_last_brings_no_more_than_is_waited_for(void **state)
{
	struct levels l = levels_with(SIM_KSWAPD_LAST);

	(void)state;
	assert_in_range(l.min, MIN_FREE + WINDOW - FAULT_TAKES, MIN_FREE + WINDOW);
	assert_in_range(l.max, MIN_FREE + WINDOW + BATCH - FAULT_TAKES, MIN_FREE + WINDOW + BATCH + STEP_FREES);
	/* From the least to the most that is free: no more than so many faults go by without one. */
	assert_true(l.stalls * (BATCH + FAULT_TAKES + STEP_FREES) >= l.faults);
	/* It is never done, so it need not be woken again. */
	assert_int_equal(l.wakes, 1);
	assert_true(l.kswapd > 0 && l.kswapd < l.elapsed);
}

static bool is_native(struct sim *s, unsigned page)
{
	struct vma *v = vma_find(&sim_task(s, 1)->mm.vmas, (vpn_t){ BASE + page });

	assert_non_null(v);
	return v->flags & VMA_NATIVE;
}

/* Of the 4096 pages of the area, exactly those of one of the n windows are native. */
static void check_windows(struct sim *s, const unsigned (*window)[2], unsigned n)
{
	for (unsigned page = 0; page < 4096; page++) {
		bool want = false;

		for (unsigned i = 0; i < n; i++)
			want |= window[i][0] <= page && page < window[i][1];
		assert_int_equal(is_native(s, page), want);
	}
}

/* Half of what is left behind each touch of the fence, from the beginning of its 2 MiB; less than 2 MiB: engaged. */
static void a_fence_opens_by_halves_until_the_manager_is_engaged(void **state)
{
	static const unsigned window[][2] = { { 0, 1792 }, { 2048, 2944 } };
	struct sim_config c;

	(void)state;
	live_config(&c, SIM_KSWAPD_FIRST);
	c.native_bytes = UINT64_C(3584) << PAGE_SHIFT;
	struct sim *s = machine_make(&c);

	task_begin(s, 1);
	task_mmap(s, 1, BASE, 4096, TRACE_R | TRACE_W, 0, 0);
	check_windows(s, NULL, 0);
	task_touch(s, 1, BASE + 5, TRACE_W);
	check_windows(s, window, 1);
	task_touch(s, 1, BASE + 2050, TRACE_W);
	check_windows(s, window, 2);
	/* In a row, but alone: nobody watches yet. */
	for (unsigned page = 100; page < 116; page++)
		task_touch(s, 1, BASE + page, TRACE_W);
	assert_int_equal(sim_task(s, 1)->mm.rss, 18);
	/* 448 pages would be left. */
	task_touch(s, 1, BASE + 3000, TRACE_W);
	check_windows(s, NULL, 0);
	assert_int_equal(sim_task(s, 1)->mm.vmas.count, 1);
	sim_check(s);
	sim_destroy(s);
}

static void what_fits_is_native_as_a_whole(void **state)
{
	struct sim_config c;

	(void)state;
	live_config(&c, SIM_KSWAPD_FIRST);
	c.native_bytes = UINT64_C(3000) << PAGE_SHIFT;
	struct sim *s = machine_make(&c);

	task_begin(s, 1);
	task_mmap(s, 1, BASE, 2000, TRACE_R | TRACE_W, 0, 0);
	task_mmap(s, 1, BASE + 4096, 600, TRACE_R | TRACE_W, 0, 0);
	assert_true(is_native(s, 1999));
	assert_false(is_native(s, 4096));
	/* What is gone counts no more. */
	event(s, (struct trace_event){ .op = TRACE_MUNMAP, .task = 1, .vpn = BASE, .n = 1000 });
	task_mmap(s, 1, BASE + 8192, 600, TRACE_R | TRACE_W, 0, 0);
	assert_true(is_native(s, 8192));
	sim_destroy(s);
}

static void pages_that_are_there_are_listed_by_address(void **state)
{
	static const unsigned touched[] = { 900, 3, 511, 42, 700 }, sorted[] = { 3, 42, 511, 700, 900 };
	struct sim_config c;
	unsigned i = 0;

	(void)state;
	live_config(&c, SIM_KSWAPD_FIRST);
	c.native_bytes = UINT64_C(2048) << PAGE_SHIFT;
	struct sim *s = machine_make(&c);

	task_begin(s, 1);
	task_mmap(s, 1, BASE, 1024, TRACE_R | TRACE_W, 0, 0);
	for (unsigned k = 0; k < ARRAY_SIZE(touched); k++)
		task_touch(s, 1, BASE + touched[k], TRACE_W);
	sim_native_engage(s);
	struct frame *f;

	TAILQ_FOREACH_REVERSE(f, &s->m.lruvec[0].list[LRU_INACTIVE_ANON], frame_list, link)
		assert_int_equal(f->user.vpn.n, BASE + sorted[i++]);
	assert_int_equal(i, ARRAY_SIZE(sorted));
	sim_destroy(s);
}

/*
 * The age that the live engine keeps of an evicted page has 8 bits, in units of 16 pages here: 4096 evictions later it
 * is the same again. A kernel with accessed bits remembers more.
 */
static void the_age_of_a_page_wraps_where_the_live_engines_does(void **state)
{
	static const bool accessed[] = { false, true };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(accessed); i++) {
		struct swap_slot slot = { 0 };
		struct sim_config c;

		live_config(&c, SIM_KSWAPD_OWN);
		c.accessed_bits = accessed[i];
		struct sim *s = machine_make(&c);
		struct lruvec *v = &s->m.lruvec[0];
		struct frame *f = &s->m.phys.frames[FRAMES - 1];

		v->nr[LRU_ACTIVE_ANON] = 100;
		workingset_evict(&s->m, f, &slot);
		v->age += 60;
		assert_true(workingset_swapin(&s->m, f, &slot));
		v->age += 400;
		assert_false(workingset_swapin(&s->m, f, &slot));
		v->age += 4096 - 460;
		assert_int_equal(workingset_swapin(&s->m, f, &slot), !accessed[i]);
		v->nr[LRU_ACTIVE_ANON] = 0;
		sim_destroy(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_are_those_worked_out),
		cmocka_unit_test(faults_wait_near_min_until_a_window_is_free),
		cmocka_unit_test(kswapd_that_comes_first_keeps_memory_between_low_and_high),
		cmocka_unit_test(kswapd_that_comes_last_brings_no_more_than_is_waited_for),
		cmocka_unit_test(a_fence_opens_by_halves_until_the_manager_is_engaged),
		cmocka_unit_test(what_fits_is_native_as_a_whole),
		cmocka_unit_test(pages_that_are_there_are_listed_by_address),
		cmocka_unit_test(the_age_of_a_page_wraps_where_the_live_engines_does),
	};

	assert_fail_hook = law_broken;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

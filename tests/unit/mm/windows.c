/*
 * Windows of streams that are read before they are touched (mm/swapin.c, backing/readahead.c), from a store that reads
 * while others are served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "mm/swapin.h"
#include "steps.h"

#define PAGES 400
#define FRAMES 800 /* two windows ahead, at most */
#define LEARNING 70 /* pages until a window is full */

static struct swapins swapins;
static unsigned waits; /* faults */
static uint64_t now;   /* ns */
static unsigned retries; /* of the swap layer */
static unsigned woken[SIM_PAGES];
static uint64_t before[VM_COUNTER_NR]; /* counters when all pages were out */

/* A naive count: of what each touch found. */
static struct {
	uint64_t major;  /* touches of a page that was out */
	uint64_t joined; /* … and on its way already */
	uint64_t soft;   /* touches of one that was there but unmapped */
	uint64_t alone;  /* major ones until the first that brought more than its page: no stream had said them */
	bool streams;
} seen;

/* All pages are out. rate: of a thousand that come back, so many fail at first. */
static void begin(unsigned rate)
{
	memset(&swapins, 0, sizeof(swapins));
	sim_make_faulty(1, FRAMES, false, FAKE_CELLS, 1, false);
	sim->m.swapins = &swapins;
	map_pages(0, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		touch(i);
	all_swapped(0, PAGES);
	faulty_init(&sim->faulty, &sim->disk->store, 1, rate, false);
	waits = retries = 0;
	memset(&seen, 0, sizeof(seen));
	memcpy(before, sim->counter, sizeof(before));
}

static uint64_t counted(enum vm_counter c)
{
	return sim->counter[c] - before[c];
}

static void poll_disk(bool wait)
{
	sim->m.ops->unlock(&sim->m);
	swap_read_poll(&sim->m.swap, wait);
	sim->m.ops->lock(&sim->m);
}

static void wait_for_end(struct swapin_done *done)
{
	while (!mm_swapin_done(&sim->m, done))
		poll_disk(true);
}

static void end_swapins(bool wait)
{
	struct swapin_done done;

	poll_disk(wait);
	while (mm_swapin_done(&sim->m, &done))
		assert_int_not_equal(done.result, FAULT_LOST);
}

static void settle(void)
{
	while (swapins.nr > 0)
		end_swapins(true);
}

static bool on_its_way(unsigned page)
{
	return pte_is_swap(sim_pte(page)) && (swap_slot_of(&sim->m.swap, pte_swp(sim_pte(page)))->flags & SLOT_READING);
}

/* The program reads the page. True: it had to wait for the disk. */
static bool read_page(unsigned page)
{
	bool waited = false, out = pte_is_swap(sim_pte(page));
	uint64_t in = sim->counter[VM_pswpin];

	seen.major += out;
	seen.joined += on_its_way(page);
	seen.soft += pte_is_soft(sim_pte(page));
	while (!sim->page[page].there) {
		enum fault_result r = fault(page);

		assert_true(r == FAULT_DONE || r == FAULT_WAIT || r == FAULT_RETRY);
		for (; r == FAULT_WAIT && swapins.awaited > 0; waited = true)
			end_swapins(true);
	}
	sim_read(page);
	waits += waited;
	seen.alone += out && !seen.streams;
	seen.streams |= out && sim->counter[VM_pswpin] > in + 1;
	return waited;
}

static void end(void)
{
	settle();
	assert_int_equal(swapins.awaited, 0);
	check_all();
	sim->m.swapins = NULL;
	sim_drop();
}

/* Page i of a stream of that stride, which begins at the end if it goes backwards. */
static unsigned nth(int stride, unsigned i)
{
	return (unsigned)(stride > 0 ? (int)i * stride : PAGES - 1 + (int)i * stride);
}

static void a_stream_does_not_wait_for_a_disk_that_is_fast_enough(void **state)
{
	(void)state;
	for (int stride = -2; stride <= 2; stride++) {
		unsigned n = stride != 0 ? PAGES / (unsigned)abs(stride) : 0;

		if (n == 0)
			continue;
		begin(0);
		for (unsigned i = 0; i < n; i++) {
			bool waited = read_page(nth(stride, i));

			assert_true(!waited || i < LEARNING);
			/* What is read meanwhile. */
			settle();
		}
		assert_in_range(waits, 6, LEARNING / 2);
		end();
	}
}

/* It waits, and then for two windows at once: one is not far enough ahead. */
static void a_stream_that_has_to_wait_is_kept_further_ahead(void **state)
{
	unsigned most = 0;

	(void)state;
	begin(0);
	for (unsigned i = 0; i < PAGES; i++) {
		read_page(i);
		most = MAX(most, swapins.nr);
	}
	assert_int_equal(most, 2);
	assert_true(waits > 6 && waits < 20);
	end();
}

static void what_cannot_be_read_ahead_is_read_when_it_is_touched(void **state)
{
	(void)state;
	begin(200);
	for (unsigned i = 0; i < PAGES; i++) {
		read_page(i);
		if (sim_below(8) == 0)
			end_swapins(false);
	}
	assert_true(atomic_load(&sim->faulty.faults) > 10);
	assert_int_equal(sim->m.swap.area[0].state, SWAP_AREA_TAKES);
	end();
}

static void without_frames_to_spare_nothing_is_read_ahead(void **state)
{
	(void)state;
	begin(0);
	for (unsigned i = 0; i < LEARNING; i++) {
		read_page(i);
		settle();
	}
	sim->m.limit = machine_charged(&sim->m) + RA_MAX / 2;
	for (unsigned i = LEARNING; i < PAGES; i++) {
		while (machine_charged(&sim->m) + 2 > sim->m.limit)
			reclaim();
		read_page(i);
		assert_int_equal(swapins.nr, 0);
	}
	assert_true(waits > PAGES / RA_MAX);
	end();
}

static void what_is_counted_is_what_was_seen(void **state)
{
	(void)state;
	for (int settled = 0; settled <= 1; settled++) {
		begin(0);
		for (unsigned i = 0; i < PAGES; i++) {
			read_page(i);
			if (settled)
				settle();
		}
		settle();
		assert_true(seen.soft > 0 && seen.major > 6);
		assert_int_equal(counted(VM_pswpin), PAGES);
		assert_int_equal(counted(VM_pgmajfault), seen.major);
		assert_int_equal(counted(VM_swap_ra), PAGES - seen.major);
		assert_int_equal(counted(VM_pgsoft), seen.soft);
		/* Of a page that is kept beside only its touch will tell. */
		assert_int_equal(counted(VM_workingset_refault), PAGES - seen.soft);
		assert_int_equal(counted(VM_swap_ra_hit), seen.soft + seen.major - seen.joined - seen.alone);
		end();
	}
}

/* Until the next window of the stream is on its way, and nobody has touched it. Returns the step at which that was. */
static unsigned until_ahead(int stride)
{
	unsigned i = 0;

	while (swapins.nr == 0) {
		read_page(nth(stride, i++));
		while (swapins.awaited > 0)
			end_swapins(true);
	}
	assert_int_equal(swapins.nr, 1);
	return i;
}

static struct swapin *ahead(void)
{
	unsigned i = 0;

	while (!swapins.in[i].busy)
		i++;
	return &swapins.in[i];
}

/* The first page of the window that is on its way, in the order of the stream. */
static unsigned first_ahead(int stride, unsigned i)
{
	while (!on_its_way(nth(stride, i)))
		i++;
	return i;
}

static void the_first_page_of_a_window_is_its_mark(void **state)
{
	struct swapin_done done;

	(void)state;
	for (int stride = -2; stride <= 2; stride++) {
		if (stride == 0)
			continue;
		begin(0);
		unsigned first = first_ahead(stride, until_ahead(stride));
		uint64_t calls = sim->map_calls;
		unsigned n = ahead()->n;

		assert_true(n > 2);
		wait_for_end(&done);
		/* Nobody has touched it: nothing to tell, nobody to wake. */
		assert_int_equal(done.vpn.n, sim_vpn(nth(stride, first)).n);
		assert_false(done.report.major);
		for (unsigned k = 0; k < n; k++) {
			unsigned page = nth(stride, first + k);

			assert_true(k == 0 ? pte_is_soft(sim_pte(page)) : sim->page[page].there);
		}
		/* Contiguous pages in one call, whichever way the stream goes. */
		assert_int_equal(sim->map_calls - calls, stride == 1 || stride == -1 ? 1 : n - 1);
		end();
	}
}

static struct {
	unsigned page;
	uint64_t call; /* of the host, that mapped it */
} watched;

static void note_call(unsigned page)
{
	if (page == watched.page)
		watched.call = sim->map_calls;
}

/* Its access goes on at once, on the handler's CPU perhaps: then the rest of its window is there. */
static void the_page_touched_is_mapped_last(void **state)
{
	(void)state;
	for (int stride = -3; stride <= 3; stride++) {
		if (stride == 0)
			continue;
		begin(0);
		/* The disk is waited for: what the fault brings it brings at once. */
		sim->m.swapins = NULL;
		sim->woken = note_call;
		uint64_t most = 0;

		for (unsigned i = 0; i < PAGES / (unsigned)abs(stride); i++) {
			uint64_t in = counted(VM_pswpin);

			watched.page = nth(stride, i);
			watched.call = sim->map_calls;
			read_page(watched.page);
			assert_int_equal(watched.call, sim->map_calls);
			most = MAX(most, counted(VM_pswpin) - in);
		}
		assert_int_equal(most, RA_MAX);
		end();
	}
}

static void count_woken(unsigned page)
{
	woken[page]++;
}

static enum fault_result fault_since(unsigned page, uint64_t since, struct fault_report *report)
{
	*report = (struct fault_report){ .since = since };
	return mm_fault(&sim->mm, sim_vpn(page), FAULT_ANY, report);
}

/* Two touches of one window: the first waits for it, and is told of its end; the second is only woken. */
static void touches_of_a_window_on_its_way_wait_for_its_end(void **state)
{
	struct fault_report report;
	struct swapin_done done;

	(void)state;
	begin(0);
	unsigned first = first_ahead(1, until_ahead(1)), n = ahead()->n;
	struct swapin *in = ahead();

	assert_int_equal(fault_since(first + 3, 777, &report), FAULT_WAIT);
	assert_true(report.later);
	assert_int_equal(swapins.awaited, 1);
	assert_int_equal(fault_since(first + 5, 888, &report), FAULT_WAIT);
	assert_false(report.later);
	assert_int_equal(swapins.awaited, 1);
	sim->woken = count_woken;
	memset(woken, 0, sizeof(woken));
	while (in->busy) {
		wait_for_end(&done);
		if (in->busy)
			continue;
		assert_int_equal(done.vpn.n, sim_vpn(first + 3).n);
		assert_int_equal(done.result, FAULT_DONE);
		assert_int_equal(done.since, 777);
		assert_true(done.report.major);
	}
	assert_int_equal(swapins.awaited, 0);
	for (unsigned k = 0; k < n; k++) {
		assert_true(sim->page[first + k].there);
		assert_true(woken[first + k] > 0);
	}
	end();
}

/* What could not be read ahead is not there, but whoever waits for it is woken, and touches it again. */
static void who_waits_for_what_has_failed_is_woken(void **state)
{
	struct fault_report report;

	(void)state;
	begin(0);
	unsigned first = first_ahead(1, until_ahead(1)), touched = first + 1;
	struct swapin *in = ahead();

	/* One that is no repeated word: those cannot fail. */
	while (swap_slot_of(&sim->m.swap, pte_swp(sim_pte(touched)))->flags & SLOT_SAME)
		touched++;
	assert_int_equal(fault_since(touched, 1, &report), FAULT_WAIT);
	sim->woken = count_woken;
	memset(woken, 0, sizeof(woken));
	atomic_store(&sim->faulty.reads_fail, true);
	while (in->busy)
		end_swapins(true);
	atomic_store(&sim->faulty.reads_fail, false);
	assert_false(sim->page[touched].there);
	assert_true(woken[touched] > 0);
	read_page(touched);
	end();
}

/* The touch that begins the reading says so, and has its time given back. */
static void a_touch_that_begins_to_read_is_told_of_its_end(void **state)
{
	struct fault_report report;
	struct swapin_done done;
	unsigned page = 0;

	(void)state;
	begin(0);
	/* One that is no repeated word: those are there at once. */
	while (fault_since(page, 555, &report) != FAULT_WAIT)
		page++;
	assert_true(report.later);
	wait_for_end(&done);
	assert_int_equal(done.vpn.n, sim_vpn(page).n);
	assert_int_equal(done.since, 555);
	assert_int_equal(done.result, FAULT_DONE);
	assert_true(done.report.major && sim->page[page].there);
	end();
}

static void count_retry(unsigned try)
{
	retries++;
	assert_in_range(try, 1, SWAP_TRIES - 1);
}

/* What nobody waits for is not tried again; what somebody touches is, and is there in the end. */
static void what_fails_ahead_is_left_for_its_touch(void **state)
{
	(void)state;
	begin(0);
	sim->m.swap.wait = count_retry;
	unsigned first = first_ahead(1, until_ahead(1)), n = ahead()->n, left = 0;

	/* Each page of it fails. */
	atomic_store(&sim->faulty.reads_fail, true);
	settle();
	atomic_store(&sim->faulty.reads_fail, false);
	for (unsigned k = 0; k < n; k++)
		left += pte_is_swap(sim_pte(first + k)) && !on_its_way(first + k);
	assert_true(left > n / 2);
	assert_int_equal(retries, 0);
	assert_int_equal(sim->m.swap.area[0].state, SWAP_AREA_TAKES);
	for (unsigned i = first; i < PAGES; i++)
		read_page(i);
	end();
}

/* The first try and five more; then it is lost, and the touch is told what and where. */
static void what_fails_under_a_touch_is_tried_six_times(void **state)
{
	(void)state;
	for (unsigned failures = SWAP_TRIES - 1; failures <= SWAP_TRIES; failures++) {
		struct fault_report report;
		struct swapin_done done;
		unsigned page = 0;

		begin(0);
		sim->m.swap.wait = count_retry;
		while (fault_since(page, 0, &report) != FAULT_WAIT)
			page++;
		swp_t entry = pte_swp(sim_pte(page));

		sim->disk->next_reads = failures;
		wait_for_end(&done);
		assert_int_equal(retries, SWAP_TRIES - 1);
		if (failures < SWAP_TRIES) {
			assert_int_equal(done.result, FAULT_DONE);
			assert_int_equal(sim->m.swap.area[0].state, SWAP_AREA_TAKES);
		} else {
			assert_int_equal(done.result, FAULT_LOST);
			assert_true(done.report.err == -EIO || done.report.err == -EAGAIN);
			assert_int_equal(done.report.area, swp_area(entry));
			assert_int_equal(done.report.slot, swp_slot(entry));
			assert_int_equal(sim->m.swap.area[0].state, SWAP_AREA_DEAD);
			/* It has not been shown, and is still where it was. */
			assert_false(sim->page[page].there);
		}
		read_page(page);
		end();
	}
}

static void at_most_six_windows_are_on_their_way_ahead(void **state)
{
	const unsigned part = PAGES / 4;
	unsigned most = 0;

	(void)state;
	begin(0);
	for (unsigned i = 0; i < part; i++)
		for (unsigned k = 0; k < 4; k++) {
			read_page(k * part + i);
			most = MAX(most, swapins.nr);
		}
	assert_in_range(most, 4, SWAPINS_AHEAD);
	end();
}

static void nothing_is_on_its_way_from_a_store_in_memory(void **state)
{
	(void)state;
	memset(&swapins, 0, sizeof(swapins));
	sim_make(1, FRAMES, true, 0);
	sim->m.swapins = &swapins;
	map_pages(0, PAGES);
	for (unsigned i = 0; i < PAGES; i++) {
		while (!sim->page[i].there)
			assert_int_equal(fault(i), FAULT_DONE);
		/* Something that compresses, but is no repeated word. */
		memset(sim->bytes[i], 1, PAGE_SIZE);
		sim->bytes[i][7] = (uint8_t)i;
		memcpy(sim->want[i], sim->bytes[i], PAGE_SIZE);
	}
	all_swapped(0, PAGES);
	for (unsigned i = 0; i < PAGES; i++) {
		assert_false(read_page(i));
		assert_int_equal(swapins.nr, 0);
	}
	end();
}

/* Noise that has left in order, page after page. */
static void begin_in_order(void)
{
	memset(&swapins, 0, sizeof(swapins));
	sim_make(1, FRAMES, false, FAKE_CELLS);
	sim->m.swapins = &swapins;
	sim->disk->in_order = true;
	map_pages(0, PAGES);
	for (unsigned i = 0; i < PAGES; i++) {
		assert_int_equal(fault(i), FAULT_DONE);
		while (!sim->page[i].there)
			assert_int_equal(fault(i), FAULT_DONE);
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			sim->bytes[i][k] = (uint8_t)sim_below(256);
		memcpy(sim->want[i], sim->bytes[i], PAGE_SIZE);
	}
	all_swapped(0, PAGES);
}

/* The page is touched by chance: no stream may say it. */
static void read_alone(unsigned page)
{
	struct vma *vma = vma_find(&sim->mm.vmas, sim_vpn(page));

	memset(vma->streams, 0, sizeof(vma->streams));
	read_page(page);
}

static uint64_t handle_of(unsigned page)
{
	return swap_slot_of(&sim->m.swap, pte_swp(sim_pte(page)))->handle;
}

/* How many of the pages beside it lie beside it in the store, too: `most` at most, in the direction of step. */
static unsigned beside(unsigned page, int step, unsigned most)
{
	unsigned n = 0;

	for (int at = (int)page + step; n < most && at >= 0 && at < PAGES && pte_is_swap(sim_pte((unsigned)at)); at += step, n++)
		if (handle_of((unsigned)at) != handle_of(page) + (uint64_t)(int64_t)(step * (int)(n + 1)))
			break;
	return n;
}

static void a_page_brings_the_neighbours_that_left_with_it(void **state)
{
	const unsigned pages[] = { 3, 200, 100, 300, 30, 250, 199, 397, 60, 350, 349 };
	unsigned brought = 0;

	(void)state;
	begin_in_order();
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		unsigned page = pages[i];

		/* The last ones were all worth it. */
		sim->m.cluster = (struct cluster){ .hits = CLUSTER_MAX - 1, .size = 1 };
		unsigned after = beside(page, 1, CLUSTER_MAX - 1), ahead_of = beside(page, -1, CLUSTER_MAX - 1 - after);
		uint64_t in = sim->counter[VM_pswpin];

		read_alone(page);
		for (unsigned at = page - ahead_of; at <= page + after; at++)
			assert_true(at == page ? sim->page[at].there : pte_is_soft(sim_pte(at)));
		assert_int_equal(sim->counter[VM_pswpin] - in, 1 + after + ahead_of);
		/* Their touches say that they were. */
		for (unsigned at = page - ahead_of; at <= page + after; at++)
			read_page(at);
		assert_int_equal(sim->m.cluster.hits, ahead_of + after);
		brought += ahead_of + after;
	}
	assert_true(brought > 20);
	end();
}

static void a_stream_brings_its_own_pages_only(void **state)
{
	(void)state;
	begin_in_order();
	/* A stride of three: its neighbours lie beside it. */
	for (unsigned i = 0; i < PAGES / 3; i++) {
		uint64_t in = sim->counter[VM_pswpin];

		sim->m.cluster = (struct cluster){ .hits = i > 8 ? CLUSTER_MAX - 1 : 0, .size = 1 };
		read_page(3 * i);
		assert_true(i > 8 || sim->counter[VM_pswpin] - in <= 8);
	}
	for (unsigned page = 0; page < PAGES; page++)
		assert_true(page % 3 == 0 || pte_is_swap(sim_pte(page)));
	end();
}

/* As many pages as were worth it, a power of two; half as many when none was; and after a long time of nothing one try. */
static void clusters_grow_with_hits_and_shrink_without(void **state)
{
	const struct {
		uint16_t hits, size, next;
	} rule[] = { { 0, 1, 1 }, { 1, 1, 4 }, { 2, 1, 4 }, { 3, 1, 8 }, { 7, 1, 8 }, { 0, 8, 4 }, { 0, 4, 2 }, { 0, 2, 1 }, { 1, 8, 4 } };

	(void)state;
	begin_in_order();
	for (unsigned i = 0; i < sizeof(rule) / sizeof(rule[0]); i++) {
		sim->m.cluster = (struct cluster){ .hits = rule[i].hits, .size = rule[i].size };
		read_alone(37 * i + 5);
		assert_int_equal(sim->m.cluster.size, rule[i].next);
	}
	sim->m.cluster = (struct cluster){ .size = 1 };
	for (unsigned i = 0, page = 0; i < 32; i++) {
		while (!pte_is_swap(sim_pte(page)))
			page++;
		assert_int_equal(sim->m.cluster.size, 1);
		read_alone(page);
	}
	assert_int_equal(sim->m.cluster.size, 4);
	end();
}

static uint64_t clock_now(struct machine *m)
{
	(void)m;
	return now;
}

/* The time that a page from below the pool takes is a mean of what touches have waited; what nobody waits for does not count. */
static void the_time_of_a_wait_is_measured_where_somebody_waits(void **state)
{
	static struct machine_ops ops;

	(void)state;
	begin(0);
	ops = *sim->m.ops;
	ops.now_ns = clock_now;
	sim->m.ops = &ops;
	now = 1000000;
	unsigned i = until_ahead(1);
	uint64_t wait_ns = sim->m.poolshare.wait_ns;
	struct fault_report report;

	now += 1000000;
	settle();
	assert_int_equal(sim->m.poolshare.wait_ns, wait_ns);
	while (swapins.nr == 0)
		read_page(i++);
	wait_ns = sim->m.poolshare.wait_ns;
	unsigned first = first_ahead(1, i), n = ahead()->n;

	assert_int_equal(fault_since(first + 1, 1, &report), FAULT_WAIT);
	now += 16 * 1600 * n;
	while (swapins.awaited > 0)
		end_swapins(true);
	/* 16 × 1600 ns a page: a sixteenth of it, less a sixteenth of the mean. */
	assert_int_equal(sim->m.poolshare.wait_ns, wait_ns + 1600 - (wait_ns + 1600) / 16);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_does_not_wait_for_a_disk_that_is_fast_enough),
		cmocka_unit_test(a_stream_that_has_to_wait_is_kept_further_ahead),
		cmocka_unit_test(what_cannot_be_read_ahead_is_read_when_it_is_touched),
		cmocka_unit_test(without_frames_to_spare_nothing_is_read_ahead),
		cmocka_unit_test(what_is_counted_is_what_was_seen),
		cmocka_unit_test(the_first_page_of_a_window_is_its_mark),
		cmocka_unit_test(the_page_touched_is_mapped_last),
		cmocka_unit_test(touches_of_a_window_on_its_way_wait_for_its_end),
		cmocka_unit_test(who_waits_for_what_has_failed_is_woken),
		cmocka_unit_test(a_touch_that_begins_to_read_is_told_of_its_end),
		cmocka_unit_test(what_fails_ahead_is_left_for_its_touch),
		cmocka_unit_test(what_fails_under_a_touch_is_tried_six_times),
		cmocka_unit_test(at_most_six_windows_are_on_their_way_ahead),
		cmocka_unit_test(nothing_is_on_its_way_from_a_store_in_memory),
		cmocka_unit_test(a_page_brings_the_neighbours_that_left_with_it),
		cmocka_unit_test(a_stream_brings_its_own_pages_only),
		cmocka_unit_test(clusters_grow_with_hits_and_shrink_without),
		cmocka_unit_test(the_time_of_a_wait_is_measured_where_somebody_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

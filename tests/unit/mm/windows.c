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
	waits = 0;
}

static void end_swapins(bool wait)
{
	struct swapin_done done;

	sim->m.ops->unlock(&sim->m);
	swap_read_poll(&sim->m.swap, wait);
	sim->m.ops->lock(&sim->m);
	while (mm_swapin_done(&sim->m, &done))
		assert_int_not_equal(done.result, FAULT_LOST);
}

static void settle(void)
{
	while (swapins.nr > 0)
		end_swapins(true);
}

/* The program reads the page. True: it had to wait for the disk. */
static bool read_page(unsigned page)
{
	bool waited = false;

	while (!sim->page[page].there) {
		enum fault_result r = fault(page);

		assert_true(r == FAULT_DONE || r == FAULT_WAIT || r == FAULT_RETRY);
		for (; r == FAULT_WAIT && swapins.awaited > 0; waited = true)
			end_swapins(true);
	}
	sim_read(page);
	waits += waited;
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

static void a_stream_does_not_wait_for_a_disk_that_is_fast_enough(void **state)
{
	(void)state;
	for (int stride = -2; stride <= 2; stride++) {
		unsigned n = stride != 0 ? PAGES / (unsigned)abs(stride) : 0;

		if (n == 0)
			continue;
		begin(0);
		for (unsigned i = 0; i < n; i++) {
			unsigned page = (unsigned)(stride > 0 ? (int)i * stride : PAGES - 1 + (int)i * stride);
			bool waited = read_page(page);

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_does_not_wait_for_a_disk_that_is_fast_enough),
		cmocka_unit_test(a_stream_that_has_to_wait_is_kept_further_ahead),
		cmocka_unit_test(what_cannot_be_read_ahead_is_read_when_it_is_touched),
		cmocka_unit_test(without_frames_to_spare_nothing_is_read_ahead),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

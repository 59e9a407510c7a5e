/* Pages by which no store gains anything: they stay, in nobody's way, as long as they are what they were (reclaim.c, REFUSED). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

#define FRAMES 600
#define NOISE 200 /* more than the sample holds */
#define TEXT 700

static uint64_t refused(void)
{
	return sim->m.lruvec[0].nr[LRU_REFUSED];
}

static uint64_t rejections(void)
{
	return sim->zpool.store.stat.rejected;
}

/* The program writes the page, which must be there. */
static void write_words(unsigned page, bool noise)
{
	uint64_t *words = (uint64_t *)sim->bytes[page];

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = noise || i < 8 ? rand_u64(&sim->rand) : 1;
	memcpy(sim->want[page], words, PAGE_SIZE);
	sim->page[page].undefined = false;
}

/* It touches the page; reclaim is done as it must be. */
static void bring(unsigned page)
{
	while (!sim->page[page].there)
		if (fault(page) == FAULT_NOMEM)
			assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), 0);
}

static void fill(unsigned start, unsigned n, bool noise)
{
	for (unsigned i = start; i < start + n; i++) {
		bring(i);
		write_words(i, noise);
	}
}

/* Noise that nobody touches is refused before so much text that it has to be compressed. */
static void begin(unsigned disk_cells)
{
	sim_make(1, FRAMES, true, disk_cells);
	map_pages(0, SIM_PAGES);
	fill(0, NOISE, true);
	fill(NOISE, TEXT, false);
}

static void end(void)
{
	check_all();
	sim_drop();
}

static void it_stands_in_nobodys_way_and_is_asked_for_once(void **state)
{
	(void)state;
	begin(0);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = NOISE; i < NOISE + TEXT; i++) {
			bring(i);
			sim_read(i);
		}
	assert_int_equal(refused(), NOISE);
	assert_int_equal(rejections(), NOISE);
	end();
}

static void a_touch_makes_it_one_like_others(void **state)
{
	(void)state;
	begin(0);
	for (unsigned i = 0; i < NOISE; i++) {
		assert_true(pte_is_soft(sim_pte(i)));
		bring(i);
		/* Half of it is text from now on. */
		if (i % 2 == 0)
			write_words(i, false);
	}
	assert_int_equal(refused(), 0);
	for (unsigned i = 0; i < SIM_FRAMES && refused() < NOISE / 2; i++)
		reclaim();
	all_swapped(NOISE, NOISE + TEXT);
	for (unsigned i = 0; i < NOISE; i++)
		assert_true(i % 2 == 0 ? pte_is_swap(sim_pte(i)) : pte_is_soft(sim_pte(i)));
	assert_int_equal(refused(), NOISE / 2);
	assert_int_equal(rejections(), NOISE + NOISE / 2);
	end();
}

static void what_the_heap_has_freed_goes(void **state)
{
	(void)state;
	begin(0);
	for (unsigned i = 0; i < NOISE; i++)
		sim->page[i].dead = sim->page[i].undefined = true;
	for (unsigned i = 0; i < NOISE; i++)
		reclaim();
	assert_int_equal(refused(), 0);
	assert_int_equal(sim->counter[VM_pgdiscard], NOISE);
	assert_int_equal(rejections(), NOISE);
	end();
}

static void it_goes_when_there_is_an_area_that_takes_it(void **state)
{
	const unsigned room = 64;

	(void)state;
	begin(room);
	/* The area was full when the others came. */
	assert_int_equal(sim->disk->store.stat.pages, room);
	assert_true(refused() > 0 && refused() <= NOISE - room + 1);
	sim->disk->cells = FAKE_CELLS;
	sim->m.swap.area[1].full = false;
	for (unsigned i = 0; i < NOISE && refused() > 0; i++)
		reclaim();
	assert_int_equal(refused(), 0);
	end();
}

static void however_often_it_is_refused_what_others_free_is_progress(void **state)
{
	unsigned freed = 0;

	(void)state;
	begin(0);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < NOISE; i++)
			bring(i);
		for (unsigned i = 0; i < 2 * SIM_FRAMES && refused() < NOISE; i++)
			reclaim();
		for (unsigned i = NOISE; i < NOISE + TEXT; i++)
			bring(i);
	}
	assert_true(rejections() > FRAMES);
	for (unsigned i = 0; i < 20; i++) {
		bool progress = false;
		unsigned n = reclaim_batch(&sim->m, true, &progress);

		assert_true(n == 0 || progress);
		freed += n;
	}
	assert_true(freed > 0);
	end();
}

/* Another thread of the program. */
static void touch_noise(void)
{
	unsigned page = (unsigned)sim_below(NOISE);

	sim->locked = true;
	if (!sim->page[page].there && pte_is_soft(sim_pte(page)))
		fault(page);
	sim->locked = false;
}

static void memory_full_of_it_is_hopeless_even_if_others_go_on(void **state)
{
	unsigned page = 0;
	enum fault_result r;

	(void)state;
	sim_make(2, FRAMES, true, 0);
	map_pages(0, SIM_PAGES);
	for (; (r = fault(page)) == FAULT_DONE; page++)
		write_words(page, true);
	assert_int_equal(r, FAULT_NOMEM);
	sim->unlocked = touch_noise;
	assert_int_equal(kswapd_balance(&sim->m, 0, NULL, NULL), -ENOMEM);
	sim->unlocked = NULL;
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_stands_in_nobodys_way_and_is_asked_for_once),
		cmocka_unit_test(a_touch_makes_it_one_like_others),
		cmocka_unit_test(what_the_heap_has_freed_goes),
		cmocka_unit_test(it_goes_when_there_is_an_area_that_takes_it),
		cmocka_unit_test(however_often_it_is_refused_what_others_free_is_progress),
		cmocka_unit_test(memory_full_of_it_is_hopeless_even_if_others_go_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

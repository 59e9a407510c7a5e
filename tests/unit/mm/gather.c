/* Gathering: neighbours get neighbouring frames before they come home, and pages keep all but their frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mm/user_page.h"
#include "steps.h"

#define SCATTERED 256

/* Pages [0, SCATTERED) are present, in frames that follow one another in a random order of pages. */
static void scatter(void)
{
	unsigned order[SCATTERED];

	map_pages(0, SCATTERED);
	for (unsigned i = 0; i < SCATTERED; i++) {
		unsigned j = (unsigned)sim_below(i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned i = 0; i < SCATTERED; i++) {
		/* Pages that were there before they were managed: no read-ahead. */
		sim_place(order[i], sim->want[order[i]]);
		assert_int_equal(mm_adopt(&sim->mm, sim_vpn(order[i])), 0);
		sim_write(order[i]);
	}
}

static void snapshot(uint32_t *pfn)
{
	for (unsigned i = 0; i < SCATTERED; i++)
		pfn[i] = pte_pfn(sim_pte(i)).n;
}

/* One sample: of 32 pages, step apart where there are any. Returns how many have the frame next to the one before's. */
static unsigned sample_of_32(unsigned step)
{
	unsigned pages[32], n = 0, next = 0;

	for (unsigned i = 40; n < 32; i += step)
		if (sim->page[i].there)
			pages[n++] = i;
	for (unsigned i = 0; i < 32; i++) {
		struct frame *f = frame_at(pages[i]);

		lru_del(&sim->m.lruvec[0], f);
		lru_add_tail(&sim->m.lruvec[0], f, LRU_INACTIVE_ANON);
	}
	/* There is no store, so that the whole sample stays. */
	reclaim();
	for (unsigned i = 0; i < 32; i++) {
		assert_true(pte_is_soft(sim_pte(pages[i])));
		next += i > 0 && frame_at(pages[i]) == frame_at(pages[i - 1]) + 1;
	}
	check_all();
	return next;
}

static void pages_that_exchange_frames_keep_all_but_their_frames(void **state)
{
	unsigned before[SCATTERED], n = 0;
	struct frame *a, *b, *f;

	(void)state;
	sim_make(31, 600, true, 0);
	scatter();
	a = frame_at(3);
	b = frame_at(200);
	b->flags |= FRAME_WORKINGSET;
	lru_del(&sim->m.lruvec[0], a);
	user_page_lock(a);
	TAILQ_FOREACH(f, &sim->m.lruvec[0].list[LRU_INACTIVE_ANON], link)
		before[n++] = sim_index(f->user.vpn);
	user_page_exchange(&sim->m, a, b);
	assert_ptr_equal(frame_at(3), b);
	assert_ptr_equal(frame_at(200), a);
	assert_int_equal(b->flags, FRAME_AWAY | FRAME_LOCKED);
	assert_int_equal(a->flags, FRAME_AWAY | FRAME_LRU | FRAME_WORKINGSET);
	/* Every page is where it was on the list. */
	n = 0;
	TAILQ_FOREACH(f, &sim->m.lruvec[0].list[LRU_INACTIVE_ANON], link)
		assert_int_equal(before[n++], sim_index(f->user.vpn));
	assert_int_equal(n, SCATTERED - 1);
	/* Two that are locked. */
	lru_del(&sim->m.lruvec[0], a);
	user_page_lock(a);
	user_page_exchange(&sim->m, a, b);
	assert_ptr_equal(frame_at(3), a);
	lru_add(&sim->m.lruvec[0], a, LRU_ACTIVE_ANON);
	user_page_unlock(&sim->m, a);
	lru_add(&sim->m.lruvec[0], b, LRU_ACTIVE_ANON);
	user_page_unlock(&sim->m, b);
	check_all();
	sim_drop();
}

static void a_copy_in_a_store_goes_with_the_page_that_it_is_of(void **state)
{
	(void)state;
	sim_make(32, 600, false, FAKE_CELLS);
	map_pages(0, 2);
	touch(0);
	touch(1);
	/* No repeated words: those are in no store. */
	for (unsigned i = 0; i < 2; i++)
		sim->bytes[i][i] = sim->want[i][i] ^= 1;
	all_swapped(0, 2);
	assert_int_equal(fault(0), FAULT_DONE);
	assert_int_equal(fault(1), FAULT_DONE);
	sim->bytes[1][7] = sim->want[1][7] ^= 1;
	struct frame *a = frame_at(0), *b = frame_at(1);
	swp_t copy = a->swap, stale = b->swap;

	assert_false(swp_none(copy) || swp_none(stale));
	lru_del(&sim->m.lruvec[0], b);
	user_page_lock(b);
	user_page_exchange(&sim->m, b, a);
	assert_int_equal(frame_at(0)->swap.v, copy.v);
	assert_int_equal(frame_at(1)->swap.v, stale.v);
	lru_add(&sim->m.lruvec[0], frame_at(1), LRU_INACTIVE_ANON);
	user_page_unlock(&sim->m, frame_at(1));
	all_swapped(0, 2);
	/* Page 0 was not written since it was read, page 1 was. */
	assert_int_equal(sim->counter[VM_pgclean], 1);
	assert_int_equal(pte_swp(sim_pte(0)).v, copy.v);
	check_all();
	sim_drop();
}

static void neighbours_have_neighbouring_frames_when_they_come_home(void **state)
{
	(void)state;
	for (unsigned gather = 0; gather < 2; gather++) {
		sim_make(33, 600, false, 0);
		scatter();
		sim->m.gather = gather;
		unsigned next = sample_of_32(1);

		if (gather)
			assert_true(next >= 30); /* two blocks */
		else
			assert_true(next < 4);
		sim_drop();
	}
}

static void pages_without_neighbours_keep_their_frames(void **state)
{
	uint32_t before[SCATTERED], after[SCATTERED];

	(void)state;
	sim_make(34, 600, false, 0);
	scatter();
	sim->m.gather = true;
	snapshot(before);
	sample_of_32(3);
	snapshot(after);
	assert_memory_equal(before, after, sizeof(before));
	sim_drop();
}

static void strangers_are_put_into_a_block_for_each_window_that_found_none(void **state)
{
	uint32_t before[SCATTERED], after[SCATTERED];
	unsigned moved = 0;

	(void)state;
	sim_make(37, 600, false, 0);
	scatter();
	sim->m.gather = true;
	sim->m.blocks_wanted = 1;
	snapshot(before);
	/* Of the 32 one half becomes a block, the other stays as it is. */
	unsigned next = sample_of_32(3);

	snapshot(after);
	/* A block may lack a frame, which is then the next one's. */
	assert_true(next >= 13 && next < 20);
	assert_int_equal(sim->m.blocks_wanted, 0);
	for (unsigned i = 40 + 16 * 3; i < 40 + 32 * 3; i += 3)
		moved += before[i] != after[i];
	assert_true(moved <= 2); /* those that had to make room */
	sim_drop();
}

static void a_window_without_a_block_is_remembered(void **state)
{
	struct frame *held[600];
	unsigned n = 0;

	(void)state;
	sim_make(38, 600, false, 0);
	scatter();
	map_pages(300, 200);
	for (unsigned i = 300; i < 340; i++)
		touch(i);
	assert_int_equal(sim->m.blocks_wanted, 0);
	while ((held[n] = frame_alloc(phys(), 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE)) != NULL)
		n++;
	/* Enough is free again, but no two frames side by side. */
	for (unsigned i = 0; i < SCATTERED; i++) {
		if (frame_pfn(phys(), frame_at(i)).n % 2 == 0)
			continue;
		sim->page[i].mapped = sim->page[i].there = false;
		assert_int_equal(mm_unmap(&sim->mm, sim_vpn(i), sim_vpn(i + 1)), 0);
	}
	for (unsigned i = 340; i < 400; i++)
		touch(i);
	assert_true(sim->m.blocks_wanted > 0);
	while (n > 0)
		frame_free(phys(), held[--n], 0);
	sim_drop();
}

static void pages_in_order_keep_their_frames(void **state)
{
	uint32_t before[SCATTERED], after[SCATTERED];

	(void)state;
	sim_make(35, 600, false, 0);
	map_pages(0, SCATTERED);
	for (unsigned i = 0; i < SCATTERED; i++)
		touch(i);
	sim->m.gather = true;
	snapshot(before);
	assert_true(sample_of_32(1) >= 28);
	snapshot(after);
	assert_memory_equal(before, after, sizeof(before));
	sim_drop();
}

static void nothing_is_exchanged_where_no_block_can_become_whole(void **state)
{
	struct frame *held[SCATTERED / 16 + 1];
	uint32_t before[SCATTERED], after[SCATTERED];
	unsigned n = 0;

	(void)state;
	sim_make(36, 600, false, 0);
	scatter();
	sim->m.gather = true;
	/* In every block of 16 frames a page is given up, and the manager takes its frame, which was freed last. */
	for (unsigned i = 0; i < SCATTERED; i++) {
		struct frame *f = frame_at(i);

		if (frame_pfn(phys(), f).n % 16 != 5)
			continue;
		sim->page[i].mapped = sim->page[i].there = false;
		assert_int_equal(mm_unmap(&sim->mm, sim_vpn(i), sim_vpn(i + 1)), 0);
		held[n] = frame_alloc(phys(), 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
		assert_ptr_equal(held[n++], f);
	}
	assert_true(n >= SCATTERED / 16 - 1);
	snapshot(before);
	sample_of_32(1);
	snapshot(after);
	assert_memory_equal(before, after, sizeof(before));
	while (n > 0)
		frame_free(phys(), held[--n], 0);
	sim_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_that_exchange_frames_keep_all_but_their_frames),
		cmocka_unit_test(a_copy_in_a_store_goes_with_the_page_that_it_is_of),
		cmocka_unit_test(neighbours_have_neighbouring_frames_when_they_come_home),
		cmocka_unit_test(pages_without_neighbours_keep_their_frames),
		cmocka_unit_test(strangers_are_put_into_a_block_for_each_window_that_found_none),
		cmocka_unit_test(a_window_without_a_block_is_remembered),
		cmocka_unit_test(pages_in_order_keep_their_frames),
		cmocka_unit_test(nothing_is_exchanged_where_no_block_can_become_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* embed/blocks: random operations with its laws after each, and what 2Q promises of scans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/rand.h"
#include "embed/blocks.h"

#define NR 200
#define MOST 50

/* As a region does it. */
static void bring(struct blocks *b, uint32_t block)
{
	while (b->present >= b->most) {
		uint32_t victim = blocks_victim(b);

		assert_int_not_equal(victim, BLOCK_NONE);
		blocks_leave(b, victim);
	}
	blocks_arrive(b, block);
}

static void the_laws_hold_after_each_operation(void **state)
{
	struct block at[NR] = { 0 };
	struct blocks b;
	struct rand r;

	(void)state;
	rand_seed(&r, 3);
	blocks_init(&b, at, NR, MOST);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t block = (uint32_t)rand_below(&r, NR);
		bool present = blocks_has(&b, block, BLOCK_PRESENT), pinned = blocks_has(&b, block, BLOCK_PINNED);

		switch (rand_below(&r, 8)) {
		case 0:
			if (present && b.pinned < MOST / 2)
				blocks_pin(&b, block);
			break;
		case 1:
			blocks_unpin(&b, block);
			break;
		case 2:
			blocks_forget(&b, block);
			break;
		case 3:
			if (present && !pinned)
				blocks_cool(&b, block);
			break;
		case 4:
			if (present)
				blocks_set_dirty(&b, block, rand_below(&r, 2) == 1);
			break;
		case 5: {
			uint32_t victim = blocks_victim(&b);

			if (victim != BLOCK_NONE)
				blocks_stay(&b, victim);
			break;
		}
		default:
			if (!present)
				bring(&b, block);
		}
		blocks_check(&b);
	}
}

static void all_pinned_is_said(void **state)
{
	struct block at[NR] = { 0 };
	struct blocks b;

	(void)state;
	blocks_init(&b, at, NR, MOST);
	for (uint32_t i = 0; i < MOST; i++) {
		blocks_arrive(&b, i);
		blocks_pin(&b, i);
	}
	assert_int_equal(blocks_victim(&b), BLOCK_NONE);
}

static void a_cooled_block_is_the_next_to_go(void **state)
{
	struct block at[NR] = { 0 };
	struct blocks b;

	(void)state;
	blocks_init(&b, at, NR, MOST);
	for (uint32_t i = 0; i < MOST; i++)
		blocks_arrive(&b, i);
	blocks_cool(&b, 30);
	assert_int_equal(blocks_victim(&b), 30);
}

static void a_scan_leaves_what_came_back_alone(void **state)
{
	struct block at[NR] = { 0 };
	struct blocks b;

	(void)state;
	blocks_init(&b, at, NR, MOST);
	/* Ten blocks, used in turn with others: they come back, and are known then. */
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t hot = i % 10;

		if (!blocks_has(&b, hot, BLOCK_PRESENT))
			bring(&b, hot);
		for (uint32_t k = 0; k < 3; k++)
			if (!blocks_has(&b, 10 + (i * 3 + k) % 90, BLOCK_PRESENT))
				bring(&b, 10 + (i * 3 + k) % 90);
	}
	for (uint32_t i = 100; i < NR; i++)
		bring(&b, i);
	unsigned stayed = 0;

	for (uint32_t i = 0; i < 10; i++)
		stayed += blocks_has(&b, i, BLOCK_PRESENT);
	assert_int_equal(stayed, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_laws_hold_after_each_operation),
		cmocka_unit_test(all_pinned_is_said),
		cmocka_unit_test(a_cooled_block_is_the_next_to_go),
		cmocka_unit_test(a_scan_leaves_what_came_back_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* slab_slot, which multiplies, against division: every address in slabs of all classes, as small and as large as they get. And how large that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "malloc/pagemap.h"
#include "malloc/slab.h"
#include "steward/malloc.h"

#define BLOCKS 3000 /* enough for the largest slab of each class */
#define BEYOND 40000

static size_t divided(const struct slab *s, size_t offset)
{
	return offset % s->slot_bytes == 0 && offset / s->slot_bytes < s->nr_slots ? offset / s->slot_bytes : SIZE_MAX;
}

static void check_slab(const struct slab *s)
{
	for (size_t offset = 0; offset < s->pages * PAGE_SIZE + BEYOND; offset++)
		if (slab_slot(s, (void *)(s->base + offset)) != divided(s, offset))
			fail_msg("offset %zu in slots of %u", offset, s->slot_bytes);
	/* Addresses that no program can have, but may hand in. */
	assert_true(slab_slot(s, (void *)(s->base + ((uintptr_t)1 << 47))) == SIZE_MAX);
	assert_true(slab_slot(s, (void *)(s->base - s->slot_bytes)) == SIZE_MAX);
}

static void a_slot_begins_where_the_division_has_no_rest(void **state)
{
	static void *blocks[BLOCKS];

	(void)state;
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		unsigned last = 0;

		for (size_t i = 0; i < BLOCKS; i++) {
			const struct slab *s;

			blocks[i] = stw_malloc(class_bytes(class));
			s = pagemap_slab(blocks[i]);
			assert_non_null(s);
			assert_int_equal(s->class, class);
			if (s->nr_slots == last)
				continue;
			last = s->nr_slots;
			check_slab(s);
		}
		for (size_t i = 0; i < BLOCKS; i++)
			stw_free(blocks[i]);
	}
}

/* The head of the next chunk lies in the last page, so no slab of 4096-byte slots has as many as pages: 7 of 8 are too few. */
static void where_there_are_thousands_little_is_left_over(void **state)
{
	static void *blocks[BLOCKS];

	(void)state;
	for (unsigned class = 0; class_bytes(class) < SLOT_MAX; class++) {
		const struct slab *s;

		for (size_t i = 0; i < BLOCKS; i++)
			blocks[i] = stw_malloc(class_bytes(class));
		s = pagemap_slab(blocks[BLOCKS - 1]);
		assert_in_range(s->pages * PAGE_SIZE - s->nr_slots * class_bytes(class), 0, s->pages * PAGE_SIZE / 16);
		for (size_t i = 0; i < BLOCKS; i++)
			stw_free(blocks[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_begins_where_the_division_has_no_rest),
		cmocka_unit_test(where_there_are_thousands_little_is_left_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

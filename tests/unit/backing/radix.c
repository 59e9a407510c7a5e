/* mm/backing/radix.c against a plain list of indexes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/backing/radix.h"

#include "../memory.h"

#define ITEMS 300

/* Dense runs and far-off places, up to the last index there is; ascending. */
static uint64_t index_of(unsigned i)
{
	static const uint64_t base[] = { 0, 4000, 1 << 18, (uint64_t)1 << 36, (uint64_t)1 << 60, UINT64_MAX - 49 };

	return base[i / 50] + i % 50 * (i / 50 == 1 ? 7 : 1);
}

struct item {
	uint64_t value; /* 0: none */
	bool tag[RADIX_TAGS];
};

struct world {
	struct memory mem;
	struct kmem_cache slab;
	struct radix tree;
	struct item item[ITEMS];
	struct rand rand;
};

static struct world w;

static void world_make(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	memory_make(&w.mem, 1024);
	assert_int_equal(radix_cache_init(&w.slab, &w.mem.phys), 0);
	radix_init(&w.tree, &w.slab);
	rand_seed(&w.rand, seed);
}

static void world_end(void)
{
	radix_destroy(&w.tree);
	assert_int_equal(w.slab.nr_inuse, 0);
	kmem_cache_destroy(&w.slab);
	memory_end(&w.mem);
}

static unsigned below(uint64_t n)
{
	return (unsigned)rand_below(&w.rand, n);
}

static bool has(unsigned i, unsigned tag)
{
	return w.item[i].value != 0 && (tag == RADIX_ANY || w.item[i].tag[tag]);
}

static void compare_next(unsigned tag)
{
	unsigned a = below(ITEMS), b = below(ITEMS);
	uint64_t from = a == 0 ? 0 : index_of(a) - below(2), last = below(3) ? index_of(b) : UINT64_MAX, at, value;
	unsigned want = 0;

	while (want < ITEMS && (index_of(want) < from || !has(want, tag)))
		want++;
	bool found = radix_next(&w.tree, from, last, tag, &at, &value);

	assert_int_equal(found, want < ITEMS && index_of(want) <= last);
	if (found) {
		assert_true(at == index_of(want));
		assert_true(value == w.item[want].value);
	}
}

static void compare(void)
{
	unsigned i = below(ITEMS);

	radix_check(&w.tree);
	assert_true(radix_get(&w.tree, index_of(i)) == w.item[i].value);
	assert_true(radix_get(&w.tree, index_of(i) + 1000) == 0 || i / 50 != 0);
	for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
		assert_int_equal(radix_tagged(&w.tree, index_of(i), tag), has(i, tag));
	for (unsigned tag = 0; tag <= RADIX_TAGS; tag++)
		compare_next(tag);
}

/* Removes more in some phases than in others, so that the tree grows and gets empty. */
static int random_step(bool shrinking)
{
	unsigned i = below(ITEMS), tag = below(RADIX_TAGS);
	struct item *item = &w.item[i];

	if (below(3) == 0 && item->value != 0) {
		item->tag[tag] = below(2);
		(item->tag[tag] ? radix_tag : radix_untag)(&w.tree, index_of(i), tag);
		return 0;
	}
	uint64_t value = below(4) < (shrinking ? 3 : 1) ? 0 : 1 + rand_u64(&w.rand) / 2;
	int err = radix_set(&w.tree, index_of(i), value);

	if (err == 0) {
		item->value = value;
		for (tag = 0; value == 0 && tag < RADIX_TAGS; tag++)
			item->tag[tag] = false;
	}
	return err;
}

static void empty(void)
{
	for (unsigned i = 0; i < ITEMS; i++)
		assert_int_equal(radix_set(&w.tree, index_of(i), 0), 0);
	memset(w.item, 0, sizeof(w.item));
	assert_int_equal(w.tree.nr_nodes, 0);
}

static void agrees_with_a_list(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(seed);
		for (unsigned i = 0; i < 8000; i++) {
			assert_int_equal(random_step(i / 1000 % 2), 0);
			compare();
		}
		empty();
		world_end();
	}
}

/* The slab has `left` nodes, so that the way to an index ends somewhere in the middle. Returns how many are held. */
static unsigned starve(void **held, unsigned most, unsigned left)
{
	void *spare[8];
	unsigned n = 0;

	for (unsigned i = 0; i < left; i++)
		spare[i] = kmem_cache_alloc(&w.slab);
	memory_exhaust(&w.mem);
	while (n < most && (held[n] = kmem_cache_alloc(&w.slab)) != NULL)
		n++;
	while (left-- > 0)
		kmem_cache_free(&w.slab, spare[left]);
	return n;
}

static void without_memory_nothing_changes(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(100 + seed);
		for (unsigned i = 0; i < 4000; i++) {
			void *held[64];
			unsigned n = starve(held, 64, below(4));
			int err = random_step(false);

			while (n > 0)
				kmem_cache_free(&w.slab, held[--n]);
			memory_restore(&w.mem);
			assert_true(err == 0 || err == -ENOMEM);
			failures += err != 0;
			compare();
			if (below(100) == 0)
				empty();
		}
		world_end();
	}
	assert_true(failures > 300);
}

static void a_tree_is_as_tall_as_its_highest_index_wants(void **state)
{
	uint64_t at, value;

	(void)state;
	world_make(1);
	assert_int_equal(radix_set(&w.tree, 63, 5), 0);
	assert_int_equal(w.tree.height, 1);
	assert_int_equal(radix_set(&w.tree, 64, 6), 0);
	assert_int_equal(w.tree.height, 2);
	assert_int_equal(radix_set(&w.tree, UINT64_MAX, 7), 0);
	assert_int_equal(w.tree.height, 11);
	assert_int_equal(radix_get(&w.tree, UINT64_MAX), 7);
	/* A search that finds nothing ends, also where indexes end. */
	assert_false(radix_next(&w.tree, 0, UINT64_MAX, 0, &at, &value));
	assert_false(radix_next(&w.tree, 65, UINT64_MAX - 1, RADIX_ANY, &at, &value));
	assert_int_equal(radix_set(&w.tree, UINT64_MAX, 0), 0);
	assert_int_equal(w.tree.height, 2);
	assert_int_equal(radix_set(&w.tree, 64, 0), 0);
	assert_int_equal(w.tree.height, 1);
	assert_int_equal(w.tree.nr_nodes, 1);
	assert_int_equal(radix_set(&w.tree, 63, 0), 0);
	assert_int_equal(w.tree.nr_nodes, 0);
	assert_int_equal(radix_set(&w.tree, 63, 0), 0);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_list),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(a_tree_is_as_tall_as_its_highest_index_wants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

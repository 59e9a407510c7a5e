/* The same machine with other memory: each node keeps its share, zones their places, and nothing overlaps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "sim/config.h"

static struct sim_config machine(unsigned nr_zones, const uint8_t *node, const uint64_t *start, const uint64_t *size)
{
	struct sim_config c;

	sim_config_default(&c);
	c.nr_zones = nr_zones;
	c.nr_nodes = 1;
	for (unsigned i = 0; i < nr_zones; i++) {
		c.zone[i] = (struct sim_zone_config){ .name = "zone", .node = node[i], .start_bytes = start[i], .size_bytes = size[i] };
		c.nr_nodes = MAX(c.nr_nodes, node[i] + 1u);
	}
	return c;
}

static uint64_t of_node(const struct sim_config *c, unsigned node)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < c->nr_zones; i++)
		bytes += c->zone[i].node == node ? c->zone[i].size_bytes : 0;
	return bytes;
}

/* The drawing of config_memory.c. */
static void test_less_is_cut_from_above(void **state)
{
	struct sim_config c = machine(3, (uint8_t[]){ 0, 0, 1 }, (uint64_t[]){ 0, 4 * GIB, 6 * GIB },
				      (uint64_t[]){ 2 * GIB, 2 * GIB, 4 * GIB });
	struct sim_config_error error;

	(void)state;
	assert_int_equal(sim_config_resize(&c, 5 * GIB, &error), 0);
	assert_int_equal(c.nr_zones, 3);
	assert_int_equal(c.zone[0].size_bytes, 2 * GIB);
	assert_int_equal(c.zone[1].size_bytes, GIB / 2);
	assert_int_equal(c.zone[1].start_bytes, 4 * GIB);
	assert_int_equal(c.zone[2].size_bytes, 5 * GIB / 2);
	assert_int_equal(c.zone[2].start_bytes, 6 * GIB);
}

static void test_a_small_laptop_has_no_zone_above(void **state)
{
	struct sim_config c;
	struct sim_config_error error;

	(void)state;
	sim_config_default(&c);
	assert_int_equal(sim_config_resize(&c, 2 * GIB, &error), 0);
	assert_int_equal(c.nr_zones, 1);
	assert_string_equal(c.zone[0].name, "DMA32");
	assert_int_equal(c.zone[0].size_bytes, 2 * GIB);
}

static void test_more_goes_to_the_highest_zone_of_each_node(void **state)
{
	struct sim_config c = machine(3, (uint8_t[]){ 0, 0, 1 }, (uint64_t[]){ 0, 4 * GIB, 6 * GIB },
				      (uint64_t[]){ 2 * GIB, 2 * GIB, 4 * GIB });
	struct sim_config_error error;

	(void)state;
	assert_int_equal(sim_config_resize(&c, 16 * GIB, &error), 0);
	assert_int_equal(c.zone[0].size_bytes, 2 * GIB);
	assert_int_equal(c.zone[1].size_bytes, 6 * GIB);
	assert_int_equal(c.zone[2].start_bytes, 10 * GIB);
	assert_int_equal(c.zone[2].size_bytes, 8 * GIB);
}

static void test_a_node_without_memory_is_refused(void **state)
{
	struct sim_config c = machine(2, (uint8_t[]){ 0, 1 }, (uint64_t[]){ 0, GIB }, (uint64_t[]){ 4096, GIB }), was = c;
	struct sim_config_error error;

	(void)state;
	assert_int_equal(sim_config_resize(&c, GIB / 2, &error), -EINVAL);
	assert_string_equal(error.text, "memory.zones: nothing would be left of node 0; keep more");
	assert_memory_equal(&c, &was, sizeof(c));
	assert_int_equal(sim_config_resize(&c, UINT64_C(1) << 45, &error), -EINVAL);
	assert_memory_equal(&c, &was, sizeof(c));
}

static void test_random_machines(void **state)
{
	struct sim_config_error error;
	struct rand rng;

	(void)state;
	rand_seed(&rng, 1);
	for (unsigned round = 0; round < 5000; round++) {
		uint64_t start[PHYS_ZONES_MAX], size[PHYS_ZONES_MAX], at = 0;
		uint8_t node[PHYS_ZONES_MAX];
		unsigned nodes = 1 + (unsigned)rand_below(&rng, 4), n = nodes + (unsigned)rand_below(&rng, 8);

		for (unsigned i = 0; i < n; i++) {
			node[i] = (uint8_t)(i < nodes ? i : rand_below(&rng, nodes));
			start[i] = at += rand_below(&rng, 100) << PAGE_SHIFT;
			size[i] = (1000 + rand_below(&rng, 100000)) << PAGE_SHIFT;
			at += size[i];
		}
		struct sim_config was = machine(n, node, start, size), c = was;
		uint64_t all = sim_config_memory(&was), want = ALIGN_DOWN(all / 16 + rand_below(&rng, all * 2), PAGE_SIZE);

		assert_int_equal(sim_config_resize(&c, want, &error), 0);
		assert_int_equal(sim_config_memory(&c), want);
		assert_int_equal(sim_config_check(&c, &error), 0);
		for (unsigned k = 0; k < nodes; k++) {
			double share = (double)of_node(&was, k) / (double)all * (double)want;

			assert_true((double)of_node(&c, k) > share - 2 * PAGE_SIZE - 1);
			assert_true((double)of_node(&c, k) < share + (nodes + 1) * (double)PAGE_SIZE);
		}
		c = was;
		assert_int_equal(sim_config_resize(&c, all, &error), 0);
		assert_memory_equal(c.zone, was.zone, sizeof(c.zone));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_less_is_cut_from_above),
		cmocka_unit_test(test_a_small_laptop_has_no_zone_above),
		cmocka_unit_test(test_more_goes_to_the_highest_zone_of_each_node),
		cmocka_unit_test(test_a_node_without_memory_is_refused),
		cmocka_unit_test(test_random_machines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

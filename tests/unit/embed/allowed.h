/* The tests of regions. Where regions cannot be had at all, there is nothing to test. */
#ifndef STW_TEST_EMBED_ALLOWED_H
#define STW_TEST_EMBED_ALLOWED_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "steward/steward.h"

/* False: they are not, and TAP says so. */
static bool regions_are_allowed(void)
{
	struct stw_memory_config c = STW_MEMORY_CONFIG;

	c.bytes = 4096;
	c.budget = (size_t)8 << 20;
	struct stw_region *r = stw_memory_open(&c);

	if (r == NULL && (strstr(stw_error(), "no right to userfaultfd") != NULL || strstr(stw_error(), "Linux 6.8") != NULL)) {
		printf("1..0 # SKIP %s\n", stw_error());
		return false;
	}
	if (r != NULL)
		stw_close(r);
	return true;
}

/* True: the group is to run; with an argument those whose names are like it. */
static bool tests_begin(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return regions_are_allowed();
}

#endif

/* malloc/: every call to the source fails in turn, once and for good; nothing is lost and the heap stays sound. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/control.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_BLOCKS 30

/* A fixed sequence that grows the heap, maps, remaps, aligns and trims; failures are allowed, lost bytes are not. */
static void sequence(void)
{
	static uint8_t *mem[NR_BLOCKS];
	static size_t bytes[NR_BLOCKS];
	struct rand r;

	rand_seed(&r, 5);
	memset(mem, 0, sizeof(mem));
	for (unsigned i = 0; i < 4 * NR_BLOCKS; i++) {
		unsigned k = (unsigned)rand_below(&r, NR_BLOCKS);
		size_t want = 1 + rand_below(&r, i % 5 == 0 ? 400000 : 40000);
		uint8_t *p;

		errno = 0;
		p = i % 7 == 0 && mem[k] == NULL ? stw_memalign(8192, want) : stw_realloc(mem[k], want);
		if (p == NULL) {
			assert_int_equal(errno, ENOMEM);
		} else {
			if (mem[k] != NULL)
				for (size_t j = 0; j < bytes[k] && j < want; j += 777)
					assert_int_equal(p[j], (uint8_t)(k + 1));
			mem[k] = p;
			bytes[k] = want;
			memset(p, (int)k + 1, want);
		}
		if (i % 50 == 49)
			stw_malloc_trim(0);
		malloc_check();
	}
	for (unsigned k = 0; k < NR_BLOCKS; k++)
		stw_free(mem[k]);
	stw_malloc_trim(0);
	malloc_check();
	testsrc_check_discarded();
}

static unsigned fail_each(bool forever)
{
	unsigned nth = 1;

	do {
		stw_mallopt(-3, 128 * 1024);
		testsrc_fail(nth++, forever);
		sequence();
	} while (testsrc_failed());
	testsrc_fail(0, false);
	return nth;
}

static void every_source_call_may_fail_once(void **state)
{
	(void)state;
	assert_true(fail_each(false) > 20);
}

static void every_source_call_may_fail_from_then_on(void **state)
{
	(void)state;
	assert_true(fail_each(true) > 20);
	assert_non_null(stw_malloc(100000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_source_call_may_fail_once),
		cmocka_unit_test(every_source_call_may_fail_from_then_on),
	};
	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}

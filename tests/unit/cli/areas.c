/* cli/areas.c against an array with one record a page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "cli/record/areas.h"
#include "sim/trace.h"

#define PAGES 200

struct page {
	bool mapped, hidden;
	uint8_t flags;
	uint32_t file;
	uint64_t pgoff;
};

static struct page model[PAGES];
static struct areas set;
static bool no_memory;

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
	return no_memory ? NULL : __real_realloc(p, size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return __real_calloc(n, size);
}

static void compare(void)
{
	areas_check(&set);
	for (uint64_t vpn = 0; vpn < PAGES; vpn++) {
		const struct area *a = areas_find(&set, vpn);
		const struct page *p = &model[vpn];

		assert_int_equal(a != NULL, p->mapped);
		if (a == NULL)
			continue;
		assert_int_equal(a->flags, p->flags);
		assert_int_equal(a->file, p->file);
		assert_int_equal(a->hidden, p->hidden);
		assert_int_equal(a->file != 0 ? a->pgoff + (vpn - a->start) : 0, p->pgoff);
	}
}

static void model_map(const struct area *a)
{
	for (uint64_t vpn = a->start; vpn < a->end; vpn++)
		model[vpn] = (struct page){ true, a->hidden, a->flags, a->file,
					    a->file != 0 ? a->pgoff + (vpn - a->start) : 0 };
}

static void step(struct rand *r)
{
	uint64_t start = rand_below(r, PAGES), end = start + 1 + rand_below(r, MIN(PAGES - start, 40));
	uint8_t rights = (uint8_t)rand_below(r, 8);
	struct area a = { .start = start, .end = end, .file = (uint32_t)rand_below(r, 3), .flags = rights,
			  .hidden = rand_below(r, 8) == 0 };
	int err;

	/* Files are mapped at their own place often, so that neighbours continue each other. */
	if (a.file != 0)
		a.pgoff = rand_below(r, 2) ? start : rand_below(r, 1000);
	no_memory = rand_below(r, 10) == 0;
	switch (rand_below(r, 3)) {
	case 0:
		err = areas_map(&set, &a);
		if (err == 0)
			model_map(&a);
		break;
	case 1:
		err = areas_unmap(&set, start, end);
		if (err == 0)
			memset(model + start, 0, (end - start) * sizeof(*model));
		break;
	default:
		err = areas_protect(&set, start, end, rights);
		for (uint64_t vpn = start; vpn < end && err == 0; vpn++)
			model[vpn].flags = model[vpn].mapped ? (uint8_t)((model[vpn].flags & ~7) | rights) : 0;
		break;
	}
	assert_true(err == 0 || (err == -ENOMEM && no_memory));
	no_memory = false;
	compare();
}

static void random_changes_against_the_model(void **state)
{
	struct rand r;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		rand_seed(&r, seed);
		memset(model, 0, sizeof(model));
		for (int i = 0; i < 300; i++)
			step(&r);
		areas_free(&set);
	}
}

static void a_copy_is_the_same_and_its_own(void **state)
{
	struct areas copy = { 0 };
	struct area a = { .start = 1, .end = 5, .flags = TRACE_R };

	(void)state;
	assert_int_equal(areas_map(&set, &a), 0);
	assert_int_equal(areas_copy(&copy, &set), 0);
	assert_int_equal(areas_unmap(&set, 0, 10), 0);
	assert_non_null(areas_find(&copy, 4));
	assert_null(areas_find(&set, 4));
	no_memory = true;
	areas_free(&set);
	assert_int_equal(areas_copy(&set, &copy), -ENOMEM);
	no_memory = false;
	areas_free(&copy);
}

static void nothing_is_in_an_empty_set(void **state)
{
	(void)state;
	assert_null(areas_find(&set, 0));
	assert_null(areas_find(&set, UINT64_MAX));
	assert_int_equal(areas_unmap(&set, 0, UINT64_MAX), 0);
	assert_int_equal(areas_from(&set, 0), 0);
	areas_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_in_an_empty_set),
		cmocka_unit_test(random_changes_against_the_model),
		cmocka_unit_test(a_copy_is_the_same_and_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

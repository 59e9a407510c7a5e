/* cli/run/uncounted.c: what a limit counts beside what processes do, as a number, and processes that give or do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/run/uncounted.h"
#include "one_process.h"

#define RAM 25600 /* pages: 100 MiB */
#define MIB_PAGES 256
#define BEFORE 1000

struct world {
	struct cgroup_memory cgroup;
	struct ledger *l;
	struct uncounted u;
	uint64_t hidden; /* pages that nobody counts */
	bool gives;      /* when the run is overdrawn */
};

static void open_world(struct world *w)
{
	*w = (struct world){ .gives = true };
	w->l = ledger_of_one(RAM);
	w->cgroup.limit = (uint64_t)(BEFORE + RAM + 8 * MIB_PAGES) << PAGE_SHIFT;
	w->u = (struct uncounted){ .ledger = w->l, .cgroup = &w->cgroup, .before = BEFORE };
}

/* The process uses all that it has; returns what is kept in the limit beyond the budget, in MiB. */
static int64_t live(struct world *w, unsigned looks)
{
	struct ledger_slot *s = &w->l->slot[0];
	uint64_t kept = 0;

	while (looks-- > 0) {
		if (w->gives)
			ledger_return(w->l, s, ledger_overdrawn(w->l));
		ledger_grant(w->l, s, RAM);
		kept = BEFORE + atomic_load(&s->granted) + w->hidden;
		uncounted_look(&w->u, kept);
		assert_int_equal((int64_t)w->l->left_pages + atomic_load(&w->l->free_pages) + (int64_t)atomic_load(&s->granted), RAM);
		assert_int_equal(w->l->left_pages, w->l->uncounted_pages);
	}
	return ((int64_t)kept - BEFORE - RAM) / MIB_PAGES;
}

static void what_nobody_counts_is_made_room_for(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(live(&w, 10), 0);
	w.hidden = 2 * MIB_PAGES;
	live(&w, 10);
	assert_int_equal(w.u.most_pages, 0);
	w.hidden = 30 * MIB_PAGES;
	assert_in_range(live(&w, 4), 0, 2);
	assert_in_range(w.l->left_pages, 28 * MIB_PAGES, 30 * MIB_PAGES);
	uint64_t left = w.l->left_pages;

	live(&w, 100);
	assert_int_equal(w.l->left_pages, left);
	free(w.l);
}

static void it_comes_back_when_it_is_gone(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.hidden = 30 * MIB_PAGES;
	live(&w, 4);
	w.hidden = 0;
	live(&w, 20);
	assert_int_equal(w.l->left_pages, 0);
	assert_true(w.u.most_pages >= 28 * MIB_PAGES);
	free(w.l);
}

static void nothing_more_is_asked_for_before_it_is_given_and_half_is_the_most(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.gives = false;
	w.hidden = 20 * MIB_PAGES;
	live(&w, 50);
	assert_in_range(w.l->left_pages, 16 * MIB_PAGES, 20 * MIB_PAGES);
	w.gives = true;
	w.hidden = 90 * MIB_PAGES;
	live(&w, 50);
	assert_int_equal(w.l->left_pages, RAM / 2);
	free(w.l);
}

static void a_limit_that_is_far_does_not_matter(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.cgroup.limit += 100 * MIB;
	w.hidden = 90 * MIB_PAGES;
	live(&w, 20);
	assert_int_equal(w.u.most_pages, 0);
	w.hidden = 130 * MIB_PAGES;
	live(&w, 20);
	assert_in_range(w.l->left_pages, 28 * MIB_PAGES, 30 * MIB_PAGES);
	free(w.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_counts_is_made_room_for),
		cmocka_unit_test(it_comes_back_when_it_is_gone),
		cmocka_unit_test(a_limit_that_is_far_does_not_matter),
		cmocka_unit_test(nothing_more_is_asked_for_before_it_is_given_and_half_is_the_most),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

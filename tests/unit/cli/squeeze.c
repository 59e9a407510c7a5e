/* cli/run/squeeze.c and resize.c on a made-up clock, with a program that waits as soon as its budget is below what it needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/resize.h"
#include "cli/run/squeeze.h"

#define TICK 50000000ull
#define START 100000 /* pages */
#define OWN 500      /* of each grant: no use to the program */

struct world {
	struct ledger *l;
	struct squeeze squeeze;
	struct resize resize;
	uint64_t now;
	uint64_t needs;      /* pages of grant with which the program does not wait */
	uint64_t keeps;      /* pages of grant that it does not give back */
	unsigned share;      /* of its time that it waits if it has less, in thousandths */
};

static void open_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->l = aligned_alloc(PAGE_SIZE, ALIGN_UP(sizeof(*w->l), PAGE_SIZE));
	assert_non_null(w->l);
	memset(w->l, 0, sizeof(*w->l));
	w->l->ram_pages = START;
	w->l->ram_max_pages = 2 * START;
	w->l->reserved_pages = 100;
	atomic_store(&w->l->free_pages, START - 100);
	w->now = TICK;
	resize_init(&w->resize, w->l);
}

/* A process that takes all that is free, and gives a debt back a bit at a time. */
static void live(struct world *w)
{
	struct ledger_slot *s = &w->l->slot[0];
	uint64_t debt = atomic_load(&w->l->debt_pages), granted = atomic_load(&s->granted);

	atomic_store(&s->pid, 1);
	atomic_store(&s->state, LEDGER_ENGAGED);
	atomic_store(&w->l->slots_used, 1);
	if (debt > 0)
		ledger_return(w->l, s, MIN(MIN(debt, 2000), granted - MIN(granted, w->keeps)));
	else
		ledger_grant(w->l, s, START * 4);
	granted = atomic_load(&s->granted);
	s->now.managed = granted - MIN(granted, OWN);
	atomic_store(&s->spare, granted - MIN(granted, w->keeps));
	if (granted < w->needs)
		s->counter[VM_stall_ns] += TICK / 1000 * w->share;
}

static void run(struct world *w, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 20; i++) {
		live(w);
		w->now += TICK;
		squeeze_tick(&w->squeeze, w->now);
		resize_tick(&w->resize, w->now);
		assert_int_equal(w->l->ram_pages, w->l->reserved_pages + atomic_load(&w->l->free_pages) + atomic_load(&w->l->slot[0].granted));
		assert_true(w->l->ram_pages <= MAX(START, w->squeeze.start_pages));
	}
}

static void the_smallest_that_does_is_found(void **state)
{
	(void)state;
	for (uint64_t needs = 10000; needs < START; needs += 17000) {
		struct world w;

		open_world(&w);
		w.squeeze.percent = 10;
		squeeze_init(&w.squeeze, w.l);
		w.needs = needs;
		w.share = 300;
		run(&w, 120);
		/* Never less than it needs, and no more than a sixteenth above. */
		assert_in_range(w.squeeze.best_pages, needs + 100, (needs + 100) * 17 / 16 + 1);
		free(w.l);
	}
}

static void what_it_waits_within_the_limit_is_fine(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.squeeze.percent = 50;
	squeeze_init(&w.squeeze, w.l);
	w.needs = 50000;
	w.share = 320; /* less than a third: 47 % slower */
	w.keeps = 9000;
	run(&w, 200);
	assert_in_range(w.squeeze.best_pages, 9000, 12000);
	free(w.l);
}

static void a_budget_is_forgotten_when_the_program_grows(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.squeeze.percent = 10;
	squeeze_init(&w.squeeze, w.l);
	w.needs = 20000;
	w.share = 900;
	run(&w, 100);
	assert_in_range(w.squeeze.best_pages, 20000, 21500);
	w.needs = 60000;
	run(&w, 150);
	assert_in_range(w.squeeze.best_pages, 60000, 64000);
	free(w.l);
}

static void a_budget_is_lowered_and_raised_as_asked(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	run(&w, 1);
	atomic_store(&w.l->ram_asked, 30000);
	run(&w, 1);
	assert_true(w.l->ram_pages < START && w.l->ram_pages > 30000);
	run(&w, 2);
	assert_int_equal(w.l->ram_pages, 30000);
	assert_int_equal(atomic_load(&w.l->ram_asked), 0);
	assert_int_equal(atomic_load(&w.l->debt_pages), 0);
	/* Not beyond what processes have reserved address space for. */
	w.squeeze.start_pages = 2 * START;
	atomic_store(&w.l->ram_asked, 3 * START);
	run(&w, 1);
	assert_int_equal(w.l->ram_pages, 2 * START);
	assert_int_equal(atomic_load(&w.l->ram_asked), 0);
	free(w.l);
}

static void what_cannot_be_lowered_stays_where_it_came_to(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.keeps = 40000;
	run(&w, 1);
	atomic_store(&w.l->ram_asked, 30000);
	run(&w, 5);
	assert_int_equal(w.l->ram_pages, 40100);
	assert_int_equal(ledger_least(w.l), 40100);
	assert_int_equal(atomic_load(&w.l->ram_asked), 30000);
	run(&w, 5);
	assert_int_equal(atomic_load(&w.l->ram_asked), 0);
	assert_int_equal(atomic_load(&w.l->debt_pages), 0);
	assert_int_equal(w.l->ram_pages, 40100);
	free(w.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_that_does_is_found),
		cmocka_unit_test(what_it_waits_within_the_limit_is_fine),
		cmocka_unit_test(a_budget_is_forgotten_when_the_program_grows),
		cmocka_unit_test(a_budget_is_lowered_and_raised_as_asked),
		cmocka_unit_test(what_cannot_be_lowered_stays_where_it_came_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

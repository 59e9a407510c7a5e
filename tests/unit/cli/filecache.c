/* cli/run/filecache.c on a made-up clock: a limit in which a program's pages and its files want room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/run/filecache.h"
#include "one_process.h"

#define LOOK 250000000ull
#define RAM 100000 /* pages: the budget, and the limit */

struct world {
	struct ledger *l;
	struct filecache cache;
	uint64_t now, refaults;
	uint64_t files;  /* pages of files that the program goes through all the time */
	uint64_t counts; /* of them, those that the process counts itself */
	uint64_t speed;  /* pages of files a look */
	bool gives;      /* when the run is overdrawn */
};

static void open_world(struct world *w)
{
	*w = (struct world){ .now = LOOK, .speed = 20000, .gives = true };
	w->l = ledger_of_one(RAM);
	w->cache = (struct filecache){ .ledger = w->l };
}

/* Of a cyclic use in too little room every page comes back. */
static void live(struct world *w)
{
	struct ledger_slot *s = &w->l->slot[0];
	uint64_t room = w->counts + RAM - MIN(RAM, atomic_load(&s->granted));

	if (w->gives)
		ledger_return(w->l, s, ledger_overdrawn(w->l));
	ledger_grant(w->l, s, RAM);
	if (room < w->files)
		w->refaults += MIN(w->speed, w->files);
	w->now += LOOK;
	filecache_look(&w->cache, w->refaults, w->now);
	assert_int_equal((int64_t)w->l->left_pages + atomic_load(&w->l->free_pages) + (int64_t)atomic_load(&s->granted), RAM);
}

static void run(struct world *w, unsigned looks)
{
	while (looks-- > 0)
		live(w);
}

static void files_get_what_they_want(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.files = 5000;
	w.counts = 6000;
	run(&w, 40);
	assert_int_equal(w.cache.most_pages, 0);
	w.files = 26000;
	run(&w, 12);
	assert_in_range(w.l->left_pages, 20000, 20000 + 2 * RAM / 32);
	/* Half a page a hundred milliseconds is no loss. */
	w.speed = 100;
	run(&w, 12);
	assert_in_range(w.l->left_pages, 20000, 20000 + 2 * RAM / 32);
	free(w.l);
}

static void what_they_do_not_want_any_more_comes_back(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.files = 30000;
	run(&w, 20);
	assert_true(w.l->left_pages >= 30000);
	w.files = 0;
	run(&w, 8);
	assert_true(w.l->left_pages >= 30000);
	run(&w, 80);
	assert_int_equal(w.l->left_pages, 0);
	assert_int_equal(atomic_load(&w.l->slot[0].granted), RAM);
	assert_true(w.cache.most_pages >= 30000);
	free(w.l);
}

static void who_waits_more_for_other_pages_has_them(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.files = 30000;
	w.speed = 5000; /* of 10 us in 250 ms: a fifth of the time */
	atomic_store(&w.l->slot[0].stall, 500);
	run(&w, 20);
	assert_int_equal(w.l->left_pages, 0);
	/* The processes are told all the same, and until they have not been missed for a while. */
	assert_int_equal(atomic_load(&w.l->files_missed), 1);
	/* What they do not miss is tried to be given back. */
	atomic_store(&w.l->slot[0].stall, 300);
	run(&w, 20);
	assert_in_range(w.l->left_pages, 30000 - RAM / 32, 30000 + 2 * RAM / 32);
	/* The files are still, and the program waits for all else. */
	atomic_store(&w.l->slot[0].stall, 900);
	w.files = 0;
	run(&w, 15);
	assert_int_equal(atomic_load(&w.l->files_missed), 1);
	run(&w, 10);
	assert_int_equal(atomic_load(&w.l->files_missed), 0);
	assert_int_equal(w.l->left_pages, 0);
	free(w.l);
}

static void never_more_than_half_and_not_before_it_is_given(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.files = 90000;
	run(&w, 100);
	assert_int_equal(w.l->left_pages, RAM / 2);
	w.files = 0;
	run(&w, 200);
	assert_int_equal(w.l->left_pages, 0);
	/* Nobody can give: one step, and it stays overdrawn by that. */
	w.files = 90000;
	w.gives = false;
	run(&w, 10);
	assert_int_equal(w.l->left_pages, RAM / 32);
	assert_int_equal(ledger_overdrawn(w.l), RAM / 32);
	free(w.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_get_what_they_want),
		cmocka_unit_test(what_they_do_not_want_any_more_comes_back),
		cmocka_unit_test(who_waits_more_for_other_pages_has_them),
		cmocka_unit_test(never_more_than_half_and_not_before_it_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

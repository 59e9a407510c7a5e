/* live/share.c: several processes that share a ledger, one engine that is each of them in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "live/clock.h"
#include "live/engine.h"

#define RAM 100000
#define PROCESSES 4
#define NEEDED 1000 /* pages of each grant that are no use to the program */

struct engine engine;

/* A process that touches its working set evenly, or sleeps. */
struct process {
	uint64_t set;    /* pages */
	bool sleeps;
	uint64_t promised;
};

static struct ledger *l;
static struct process process[PROCESSES];

static int open_run(void **state)
{
	(void)state;
	l = aligned_alloc(PAGE_SIZE, ALIGN_UP(sizeof(*l), PAGE_SIZE));
	if (l == NULL)
		return -1;
	memset(l, 0, sizeof(*l));
	memset(process, 0, sizeof(process));
	l->ram_pages = RAM;
	atomic_store(&l->free_pages, RAM);
	return 0;
}

static int close_run(void **state)
{
	(void)state;
	free(l);
	return 0;
}

static void start(unsigned i, uint64_t granted, uint64_t set, bool sleeps)
{
	struct ledger_slot *s = &l->slot[i];

	process[i] = (struct process){ .set = set, .sleeps = sleeps };
	atomic_store(&s->pid, (int)i + 1);
	atomic_store(&s->state, LEDGER_ENGAGED);
	ledger_grant(l, s, granted);
	atomic_store(&l->slots_used, MAX(atomic_load(&l->slots_used), i + 1));
}

static uint64_t granted(unsigned i)
{
	return atomic_load(&l->slot[i].granted);
}

/* Of an even use: the share of touches that find their page out, each of which is waited for. */
static uint32_t stall_of(unsigned i)
{
	uint64_t has = granted(i) > NEEDED ? granted(i) - NEEDED : 0, out = process[i].set > has ? process[i].set - has : 0;

	l->slot[i].now.swapped = out;
	return process[i].sleeps ? 0 : (uint32_t)(out * 950 / process[i].set);
}

/* Frames for pages that it does not have. */
static uint64_t idle_of(unsigned i)
{
	uint64_t has = granted(i) > NEEDED ? granted(i) - NEEDED : 0;

	return has > process[i].set ? has - process[i].set : 0;
}

static uint64_t handed_out(void)
{
	uint64_t sum = atomic_load(&l->free_pages);

	for (unsigned i = 0; i < PROCESSES; i++)
		sum += granted(i);
	return sum;
}

/* Each looks once and keeps its promise. */
static void round_of_looks(void)
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		if (atomic_load(&l->slot[i].pid) == 0)
			continue;
		atomic_store(&l->slot[i].stall, stall_of(i));
		engine = (struct engine){ .ledger = l, .slot = &l->slot[i], .promised = process[i].promised };
		share_look((struct share_use){ .needed = NEEDED, .idle = idle_of(i), .asleep = process[i].sleeps });
		share_keep_promise(granted(i) - engine.promised, granted(i) - engine.promised);
		process[i].promised = engine.promised;
		assert_int_equal(handed_out(), l->ram_pages);
	}
}

static void rounds(unsigned n)
{
	while (n-- > 0)
		round_of_looks();
}

static void a_sleeping_process_gives_way(void **state)
{
	(void)state;
	start(0, 90000, 80000, true);
	start(1, 10000, 120000, false);
	rounds(100);
	/* Down to its floor, an eighth of an even share, and no further. */
	assert_in_range(granted(0), RAM / 16, RAM / 16 + 100);
	assert_true(granted(1) > RAM - RAM / 16 - 3000);
}

static void it_wakes_up_and_both_wait_alike(void **state)
{
	(void)state;
	start(0, 5000, 80000, false);
	start(1, 95000, 80000, false);
	rounds(200);
	assert_in_range(stall_of(0), stall_of(1) - 100, stall_of(1) + 100);
	/* And so it stays. */
	uint64_t before = granted(0);

	rounds(100);
	assert_in_range(granted(0), before - 500, before + 500);
}

static void the_one_that_waits_more_has_more(void **state)
{
	(void)state;
	start(0, 50000, 30000, false);
	start(1, 50000, 120000, false);
	rounds(300);
	/* Even waiting, not even shares. */
	assert_in_range(stall_of(0), stall_of(1) - 100, stall_of(1) + 100);
	assert_true(granted(1) > 2 * granted(0));
}

static void who_sleeps_gives_before_who_works(void **state)
{
	(void)state;
	start(0, 40000, 39000, true);
	start(1, 50000, 70000, false);
	start(2, 10000, 90000, false);
	round_of_looks();
	round_of_looks();
	assert_true(granted(0) < 40000);
	assert_int_equal(granted(1), 50000);
}

static void even_who_only_waits_repays_an_overdraft(void **state)
{
	struct ledger_slot *starter = &l->slot[1];

	(void)state;
	start(0, RAM, 20 * RAM, false);
	assert_int_equal(ledger_overdraw(l, starter, 500), 500);
	rounds(1);
	assert_true(stall_of(0) > 850);
	assert_int_equal(ledger_overdrawn(l), 0);
	/* And leaves something for those who start next, but not much. */
	assert_in_range(ledger_free(l), 0, RAM / 16);
	/* And takes it again when the other is gone. */
	ledger_return_all(l, starter);
	rounds(3);
	assert_int_equal(granted(0), RAM);
}

static void idle_frames_are_given_at_once(void **state)
{
	(void)state;
	start(0, 80000, 30000, false);
	start(1, 20000, 120000, false);
	rounds(2);
	assert_in_range(granted(0), NEEDED + 30000 - 10, NEEDED + 30000);
}

/* What process 0, which waits much, would give to process 2, which waits more, while a sleeper has so much to spare. */
static uint64_t gift_beside(uint64_t sleepers, uint64_t idle)
{
	atomic_store(&l->slot[0].stall, 300);
	atomic_store(&l->slot[1].stall, 0);
	atomic_store(&l->slot[1].spare, sleepers);
	atomic_store(&l->slot[2].urgency, 800);
	engine = (struct engine){ .ledger = l, .slot = &l->slot[0] };
	share_look((struct share_use){ .needed = NEEDED, .idle = idle });
	return engine.promised;
}

static void who_waits_lets_sleepers_give_first_but_for_what_is_no_use_to_him(void **state)
{
	(void)state;
	start(0, 60000, 90000, false);
	start(1, 20000, 10000, true);
	start(2, 10000, 90000, false);
	uint64_t spare = 60000 - RAM / (8 * 3);

	assert_int_equal(gift_beside(10000, 0), 0);
	assert_int_equal(gift_beside(10000, 40000), 40000);
	/* Not more than it can spare. */
	assert_int_equal(gift_beside(10000, 59000), spare);
	/* A sleeper that has next to nothing is not waited for. */
	assert_int_equal(gift_beside(spare / 8 - 1, 0), spare * 500 / 4000);
}

/* A process ends beside one that has pages out: the next one that starts finds most of what it had. */
static void what_comes_free_is_taken_step_by_step(void **state)
{
	(void)state;
	start(0, 20000, 21000, false);
	start(1, 10000, 9000, false);
	round_of_looks();
	assert_in_range(granted(0), 22000, 30000);
	assert_true(ledger_free(l) > RAM / 2);
	/* One that is alone need not come back for more. */
	ledger_return_all(l, &l->slot[1]);
	atomic_store(&l->slot[1].pid, 0);
	process[0].set = 200000;
	round_of_looks();
	assert_int_equal(granted(0), RAM);
}

static void who_sleeps_or_has_idle_frames_takes_nothing(void **state)
{
	(void)state;
	/* It has pages out, but does not want them. */
	start(0, 20000, 80000, true);
	start(1, 40000, 30000, false);
	rounds(5);
	assert_int_equal(granted(0), 20000);
	assert_int_equal(granted(1), 40000);
	/* When it wakes up, it does. */
	process[0].sleeps = false;
	rounds(5);
	assert_true(granted(0) > 50000);
}

static void nobody_gives_when_all_have_enough(void **state)
{
	(void)state;
	start(0, 40000, 30000, false);
	start(1, 40000, 30000, false);
	rounds(50);
	assert_true(granted(0) >= 40000 && granted(1) >= 40000);
}

static void a_newcomer_gets_what_it_needs(void **state)
{
	(void)state;
	start(0, RAM, 150000, false);
	start(1, 0, 20000, false);
	rounds(20);
	assert_true(granted(1) >= NEEDED);
	/* Something is always left for one that only starts. */
	rounds(50);
	assert_true(atomic_load(&l->free_pages) > 0);
}

static void a_debt_is_given_by_who_sleeps_first_and_by_all_in_the_end(void **state)
{
	(void)state;
	start(0, 40000, 30000, true);
	start(1, 60000, 90000, false);
	atomic_store(&l->debt_pages, 90000);
	rounds(4);
	assert_int_equal(granted(1), 60000);
	rounds(200);
	assert_in_range(granted(0), NEEDED, RAM / 16 + 100);
	assert_in_range(granted(1), NEEDED, RAM / 16 + 100);
	/* Nobody has taken any of it back. */
	assert_true(atomic_load(&l->free_pages) >= RAM - RAM / 8 - 200);
}

static void who_has_most_of_a_run_that_gets_short_is_a_hoard(void **state)
{
	(void)state;
	start(0, 50000, 0, false);
	start(1, 1000, 0, false);
	engine = (struct engine){ .ledger = l, .slot = &l->slot[0] };
	/* Beside a shell only, whatever it has. */
	ledger_grant(l, &l->slot[1], 40000);
	assert_false(share_is_hoard(50000));
	start(2, 1000, 0, false);
	assert_true(share_is_hoard(50000));
	assert_false(share_is_hoard(30000));
	/* While there is enough for all, nobody is. */
	ledger_return(l, &l->slot[1], 30000);
	assert_false(share_is_hoard(50000));
}

static void a_promise_is_given_when_the_frames_are_offline(void **state)
{
	(void)state;
	start(0, 90000, 80000, true);
	start(1, 10000, 80000, false);
	atomic_store(&l->slot[1].urgency, 900);
	engine = (struct engine){ .ledger = l, .slot = &l->slot[0] };
	share_look((struct share_use){ .needed = NEEDED });
	uint64_t promised = engine.promised;

	assert_true(promised > 0);
	share_keep_promise(89000, 89000 - promised);
	assert_int_equal(granted(0), 90000);
	share_keep_promise(89000 - promised, 89000 - promised);
	assert_int_equal(granted(0), 90000 - promised);
	assert_int_equal(engine.promised, 0);
	/* One that cannot be kept is given up after its time, but for what is there. */
	engine.promised = 5000;
	engine.promised_since = 1;
	share_keep_promise(80000, 78000);
	assert_int_equal(granted(0), 90000 - promised - 3000);
	assert_int_equal(handed_out(), RAM);
}

/* By whatever the grant exceeds it, and never more than was promised. */
static void what_the_process_needs_itself_breaks_its_promise(void **state)
{
	const struct {
		uint64_t promised, needed, kept;
	} cases[] = {
		{ 60000, 10000, 60000 }, { 60000, 30000, 60000 }, { 60000, 30001, 59999 }, { 60000, 75000, 15000 },
		{ 60000, 89999, 1 }, { 60000, 90000, 0 }, { 60000, 90001, 0 }, { 60000, UINT64_MAX, 0 }, { 0, 10000, 0 },
	};

	(void)state;
	start(0, 90000, 30000, false);
	start(1, 10000, 120000, false);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		engine = (struct engine){ .ledger = l, .slot = &l->slot[0], .promised = cases[i].promised };
		share_break_promise(cases[i].needed);
		assert_int_equal(engine.promised, cases[i].kept);
		/* Nothing has been given: the process has it all still. */
		assert_int_equal(granted(0), 90000);
		assert_int_equal(handed_out(), RAM);
	}
	/* What is left of it is given as any other promise. */
	engine = (struct engine){ .ledger = l, .slot = &l->slot[0], .promised = 60000 };
	share_break_promise(75000);
	share_keep_promise(75000, 75000);
	assert_int_equal(granted(0), 75000);
	assert_int_equal(engine.promised, 0);
}

/* Gives what the run is overdrawn by, when it is. */
static void *repays(void *first)
{
	while (ledger_overdrawn(l) == 0)
		sched_yield();
	ledger_return(l, first, ledger_overdrawn(l));
	return NULL;
}

static void who_begins_waits_until_what_he_overdraws_is_repaid(void **state)
{
	pthread_t giver;

	(void)state;
	start(0, RAM, 80000, false);
	start(1, 0, 80000, false);
	atomic_store(&l->slot[1].state, LEDGER_NATIVE);
	engine = (struct engine){ .ledger = l, .slot = &l->slot[1] };
	/* There is nobody who could give: it is overdrawn, and nobody is waited for. */
	uint64_t since = now_ns();

	share_begin(500);
	assert_int_equal(granted(1), 500);
	assert_int_equal(ledger_overdrawn(l), 500);
	assert_true(now_ns() - since < 100000000);
	ledger_return(l, &l->slot[1], 500);

	atomic_store(&l->slot[0].spare, 20000);
	assert_int_equal(pthread_create(&giver, NULL, repays, &l->slot[0]), 0);
	share_begin(500);
	assert_int_equal(granted(1), 500);
	assert_int_equal(ledger_overdrawn(l), 0);
	assert_int_equal(pthread_join(giver, NULL), 0);
	ledger_return(l, &l->slot[1], 500);

	/* What is free is enough. */
	share_begin(400);
	assert_int_equal(granted(1), 400);
	assert_int_equal(ledger_free(l), 100);

	/* He who could give does not. */
	since = now_ns();
	share_begin(500);
	assert_int_equal(granted(1), 900);
	assert_int_equal(ledger_overdrawn(l), 400);
	assert_true(now_ns() - since > 100000000);
}

/* More than the run may be overdrawn by: it begins without. */
static void a_run_is_not_overdrawn_beyond_its_limit_for_who_begins(void **state)
{
	(void)state;
	start(0, RAM, 80000, false);
	start(1, 0, 80000, false);
	engine = (struct engine){ .ledger = l, .slot = &l->slot[1] };
	share_begin(ledger_overdraft(l) + 1);
	assert_int_equal(granted(1), 0);
	assert_int_equal(ledger_overdrawn(l), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_run, close_run)
	const struct CMUnitTest tests[] = {
		TEST(a_sleeping_process_gives_way),
		TEST(it_wakes_up_and_both_wait_alike),
		TEST(the_one_that_waits_more_has_more),
		TEST(who_sleeps_gives_before_who_works),
		TEST(even_who_only_waits_repays_an_overdraft),
		TEST(idle_frames_are_given_at_once),
		TEST(who_waits_lets_sleepers_give_first_but_for_what_is_no_use_to_him),
		TEST(what_comes_free_is_taken_step_by_step),
		TEST(who_sleeps_or_has_idle_frames_takes_nothing),
		TEST(nobody_gives_when_all_have_enough),
		TEST(a_newcomer_gets_what_it_needs),
		TEST(a_debt_is_given_by_who_sleeps_first_and_by_all_in_the_end),
		TEST(who_has_most_of_a_run_that_gets_short_is_a_hoard),
		TEST(a_promise_is_given_when_the_frames_are_offline),
		TEST(what_the_process_needs_itself_breaks_its_promise),
		TEST(who_begins_waits_until_what_he_overdraws_is_repaid),
		TEST(a_run_is_not_overdrawn_beyond_its_limit_for_who_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lending: processes that fit and do nothing, seen through the ledger and through what the kernel would say of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/lend.h"

#define RAM 16384u            /* pages: 64 MiB */
#define LOOK 50000000         /* ns */
#define STILL 11              /* looks: more than half a second */
#define MARGIN 16

static struct ledger *l;
static struct lend d;
static uint64_t now, faults[4], part[4], untouched[4];

static int fake_untouched(int32_t pid, uint64_t largest, uint64_t *pages)
{
	assert_true(largest >= 1024);
	*pages = untouched[pid - 1];
	return untouched[pid - 1] == UINT64_MAX ? -1 : 0;
}

static void law(void)
{
	uint64_t sum = 0, risk = 0;

	for (unsigned i = 0; i < 4; i++) {
		sum += atomic_load(&l->slot[i].granted);
		risk += d.process[i].risk;
	}
	assert_int_equal((int64_t)sum + atomic_load(&l->free_pages), RAM);
	assert_int_equal(risk, atomic_load(&l->lent_pages));
	assert_true(risk + ledger_overdrawn(l) <= ledger_overdraft(l));
}

/* Processes 1 to 4; the last one has what the others leave, and an engine. */
static void open_world(uint64_t grant)
{
	l = aligned_alloc(PAGE_SIZE, sizeof(*l));
	assert_non_null(l);
	memset(l, 0, sizeof(*l));
	d = (struct lend){ .ledger = l, .untouched = fake_untouched };
	now = 1;
	atomic_store(&l->ram_pages, RAM);
	atomic_store(&l->free_pages, RAM);
	for (unsigned i = 0; i < 4; i++) {
		ledger_claim(l, (int32_t)i + 1, 1);
		ledger_grant(l, &l->slot[i], i < 3 ? grant : RAM);
		atomic_store(&l->slot[i].allowed, 200 << PAGE_SHIFT);
		faults[i] = 10;
		part[i] = 100;
		untouched[i] = 50;
	}
	atomic_store(&l->slot[3].state, LEDGER_ENGAGED);
}

static void look(unsigned looks)
{
	for (; looks > 0; looks--) {
		now += LOOK;
		for (unsigned i = 0; i < 3; i++)
			lend_look(&d, i, faults[i], part[i], now);
		law();
	}
}

static uint64_t granted(unsigned i)
{
	return atomic_load(&l->slot[i].granted);
}

static void close_world(void)
{
	for (unsigned i = 0; i < 3; i++)
		lend_forget(&d, i);
	law();
	assert_int_equal(atomic_load(&l->lent_pages), 0);
	free(l);
}

static void who_does_nothing_lends_what_he_does_not_have(void **state)
{
	(void)state;
	open_world(500);
	look(8);
	assert_int_equal(granted(0), 500);
	/* One goes on, one is looking at its books. */
	faults[1]++;
	atomic_store(&l->slot[2].allowed, 0);
	look(STILL - 8);
	assert_int_equal(granted(0), 100 + MARGIN);
	assert_int_equal(atomic_load(&l->slot[0].allowed), 0);
	assert_int_equal(granted(1), 500);
	assert_int_equal(granted(2), 500);
	assert_int_equal(ledger_free(l), 400 - MARGIN);
	close_world();
}

static void nothing_is_lent_while_there_is_enough(void **state)
{
	(void)state;
	open_world(500);
	ledger_return(l, &l->slot[3], RAM / 4 + 1);
	look(2 * STILL);
	assert_int_equal(granted(0), 500);
	close_world();
}

static void a_grant_follows_what_is_touched(void **state)
{
	(void)state;
	open_world(500);
	untouched[0] = 300;
	look(STILL);
	/* The others have taken what was lent. */
	ledger_grant(l, &l->slot[3], RAM);
	part[0] = 250;
	look(1);
	assert_int_equal(granted(0), 250 + MARGIN);
	assert_int_equal(ledger_overdrawn(l), 150);
	assert_int_equal(d.process[0].risk, 150);
	/* It maps memory, looks, and asks by itself. */
	ledger_return(l, &l->slot[3], 1000);
	ledger_grant(l, &l->slot[0], 300);
	look(1);
	assert_int_equal(d.process[0].risk, 0);
	assert_int_equal(granted(0), 550 + MARGIN);
	close_world();
}

static void what_could_be_touched_at_once_is_bounded(void **state)
{
	(void)state;
	open_world(2000);
	uint64_t most = ledger_overdraft(l);

	for (unsigned i = 0; i < 3; i++)
		untouched[i] = most / 2 - 60;
	look(2 * STILL);
	assert_int_equal(granted(0), 100 + MARGIN);
	assert_int_equal(granted(1), 2000);
	/* What is left of the overdraft is for those that start. */
	ledger_grant(l, &l->slot[3], RAM);
	assert_int_equal(ledger_overdraw(l, &l->slot[1], most / 2 + 60), most / 2 + 60);
	assert_int_equal(ledger_overdraw(l, &l->slot[1], 1), 0);
	close_world();
}

static void who_is_large_or_unknown_lends_nothing(void **state)
{
	(void)state;
	open_world(4200);
	untouched[1] = UINT64_MAX;
	ledger_return(l, &l->slot[1], 4000);
	ledger_return(l, &l->slot[2], 4100);
	part[2] = 70;
	look(2 * STILL);
	assert_int_equal(granted(0), 4200);
	assert_int_equal(granted(1), 200);
	/* Too little. */
	assert_int_equal(granted(2), 100);
	close_world();
}

static void another_process_in_the_slot_begins_anew(void **state)
{
	(void)state;
	open_world(500);
	look(STILL);
	assert_int_equal(d.process[0].risk, 50);
	l->slot[0].start_time = 2;
	faults[0] = 0;
	look(1);
	assert_int_equal(d.process[0].risk, 0);
	assert_int_equal(d.process[0].kept, 0);
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_does_nothing_lends_what_he_does_not_have),
		cmocka_unit_test(nothing_is_lent_while_there_is_enough),
		cmocka_unit_test(a_grant_follows_what_is_touched),
		cmocka_unit_test(what_could_be_touched_at_once_is_bounded),
		cmocka_unit_test(who_is_large_or_unknown_lends_nothing),
		cmocka_unit_test(another_process_in_the_slot_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

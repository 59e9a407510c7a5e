/* live/ledger.c: the budget is never handed out twice, whoever takes, gives back, looks and squeezes at the same time. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "live/ledger.h"

#define RAM 100000 /* pages */
#define KEEP_PAGES ((int64_t)(LEDGER_KEEP >> PAGE_SHIFT))
#define OWNERS 4
#define THIEVES 2
#define ROUNDS 60000

static struct ledger *new_ledger(unsigned slots)
{
	struct ledger *l = aligned_alloc(_Alignof(struct ledger), sizeof(*l));

	assert_non_null(l);
	memset(l, 0, sizeof(*l));
	l->ram_pages = RAM;
	atomic_store(&l->free_pages, RAM);
	for (unsigned i = 0; i < slots; i++)
		assert_ptr_equal(ledger_claim(l, (int32_t)(i + 1), i + 1), &l->slot[i]);
	return l;
}

static uint64_t handed_out(struct ledger *l)
{
	uint64_t n = (uint64_t)atomic_load(&l->free_pages);

	for (uint32_t i = 0; i < atomic_load(&l->slots_used); i++)
		n += atomic_load(&l->slot[i].granted);
	return n;
}

static void allow(struct ledger_slot *s, int64_t pages)
{
	atomic_store(&s->allowed, pages << PAGE_SHIFT);
}

static int64_t allowed(struct ledger_slot *s)
{
	return atomic_load(&s->allowed) >> PAGE_SHIFT;
}

/* What a process does that looks (native.c) and has `used` pages. */
static void look(struct ledger_slot *s, uint64_t used)
{
	uint64_t limit = ledger_native_limit(atomic_load(&s->granted));

	allow(s, limit > used ? (int64_t)ledger_allowed(limit - used) : 0);
}

/* What it has, and what it may have without a further look, is within the grant, and the part of Steward and what is kept back are there too. */
static bool fits(struct ledger_slot *s, uint64_t used)
{
	uint64_t may = (uint64_t)MAX(allowed(s), 0);

	return used + may + may / 7 <= ledger_native_limit(atomic_load(&s->granted)) + 1;
}

static void squeeze_takes_what_is_allowed_and_unused(void **state)
{
	struct ledger *l = new_ledger(3);
	struct ledger_slot *idle = &l->slot[0], *busy = &l->slot[1], *other = &l->slot[2];

	(void)state;
	/* Both have used so many pages, and may have the rest. */
	const uint64_t has[2] = { 1000, 500 };

	ledger_grant(l, idle, 6000);
	ledger_grant(l, other, 2400);
	look(idle, has[0]);
	look(other, has[1]);
	atomic_store(&busy->state, LEDGER_ENGAGED);

	/* As much as is wanted, from the first that has it. */
	assert_int_equal(ledger_squeeze(l, busy, 100), 100);
	assert_int_equal(atomic_load(&busy->granted), 100);
	assert_int_equal(atomic_load(&idle->granted), 5900);
	assert_true(fits(idle, has[0]));
	/* And not more than there is beside what each one keeps: a small one is left with little beside that. */
	ledger_squeeze(l, busy, RAM);
	assert_int_equal(allowed(idle), KEEP_PAGES);
	assert_int_equal(allowed(other), KEEP_PAGES);
	assert_true(fits(idle, has[0]) && fits(other, has[1]));
	assert_in_range(atomic_load(&other->granted), 500 + KEEP_PAGES, 500 + KEEP_PAGES + 100);
	assert_int_equal(ledger_squeeze(l, busy, RAM), 0);
	/* What is free comes first. */
	uint64_t free_pages = atomic_load(&l->free_pages), granted = atomic_load(&idle->granted);

	allow(idle, KEEP_PAGES + 50);
	assert_int_equal(ledger_demand(l, busy, free_pages + 30), free_pages + 30);
	assert_int_equal(atomic_load(&idle->granted), granted - 30);
	assert_in_range(allowed(idle), KEEP_PAGES + 20, KEEP_PAGES + 50);
	assert_int_equal(atomic_load(&l->free_pages), 0);
	assert_int_equal(handed_out(l), RAM);
	free(l);
}

static void what_is_beyond_the_need_goes_back(void **state)
{
	struct ledger *l = new_ledger(1);
	struct ledger_slot *s = &l->slot[0];

	(void)state;
	for (uint64_t used = 0; used < 8000; used += 7) {
		uint64_t least = ledger_native_grant(used);

		assert_true(ledger_native_limit(least) >= used);
		assert_true(least == 0 || ledger_native_limit(least - 1) < used);
	}
	ledger_grant(l, s, 3000);
	ledger_trim(l, s, 4000);
	assert_int_equal(atomic_load(&s->granted), 3000);
	ledger_trim(l, s, 700);
	assert_int_equal(atomic_load(&s->granted), 700);
	assert_int_equal(atomic_load(&l->free_pages), RAM - 700);
	free(l);
}

static void squeeze_leaves_those_alone_that_count_every_page(void **state)
{
	struct ledger *l = new_ledger(3);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		ledger_grant(l, &l->slot[i], 5000);
		allow(&l->slot[i], 4000);
	}
	atomic_store(&l->slot[0].state, LEDGER_ARMED);
	atomic_store(&l->slot[1].state, LEDGER_ENGAGED);
	assert_int_equal(ledger_squeeze(l, &l->slot[2], 1000), 0);
	/* Nor itself. */
	atomic_store(&l->slot[1].state, LEDGER_NATIVE);
	assert_int_equal(ledger_squeeze(l, &l->slot[1], 1000), 0);
	assert_int_equal(atomic_load(&l->slot[1].granted), 5000);
	free(l);
}

static void a_process_that_ends_leaves_everything(void **state)
{
	struct ledger *l = new_ledger(2);

	(void)state;
	ledger_grant(l, &l->slot[0], 700);
	allow(&l->slot[0], 600);
	ledger_retire(l, &l->slot[0]);
	assert_int_equal(atomic_load(&l->free_pages), RAM);
	assert_int_equal(allowed(&l->slot[0]), 0);
	free(l);
}

static void small_processes_overdraw_and_who_can_repays(void **state)
{
	struct ledger *l = new_ledger(2);
	struct ledger_slot *large = &l->slot[0], *small = &l->slot[1];
	uint64_t most = ledger_overdraft(l);

	(void)state;
	ledger_grant(l, large, RAM);
	/* Whoever else asks gets nothing. */
	assert_int_equal(ledger_overdraw(l, small, 100), 100);
	assert_int_equal(ledger_grant(l, large, 50), 0);
	assert_int_equal(ledger_overdrawn(l), 100);
	assert_int_equal(ledger_free(l), 0);
	/* All or nothing, up to a part of the budget. */
	assert_in_range(most, 200, RAM / 8);
	assert_int_equal(ledger_overdraw(l, small, most - 100), most - 100);
	assert_int_equal(ledger_overdraw(l, small, 1), 0);
	assert_int_equal(handed_out(l), RAM);
	/* What is given back repays first. */
	ledger_return(l, large, most + 30);
	assert_int_equal(ledger_overdrawn(l), 0);
	assert_int_equal(ledger_free(l), 30);
	ledger_retire(l, small);
	assert_int_equal(ledger_free(l), most + 30);
	free(l);
}

struct actor {
	struct ledger *l;
	struct ledger_slot *slot;
	uint64_t used; /* pages, owners: what it really has */
	bool broken;   /* owners: had more than its grant */
	pthread_t thread;
};

/* Nobody can squeeze the owner now; somebody who began to will find that out and give back what he took. */
static bool within_grant(const struct actor *a)
{
	for (unsigned i = 0; i < 10000; i++) {
		if (a->used == 0 || a->used <= ledger_native_limit(atomic_load(&a->slot->granted)))
			return true;
		sched_yield();
	}
	return false;
}

/*
 * A NATIVE process: maps memory as far as it is allowed; when that is used up it looks, asks for more, and now and then
 * begins anew, as after an exec, or gives back what it does not need, as before it starts another process. Its law: what it has and may still have is within its grant.
 */
static void *owner(void *arg)
{
	struct actor *a = arg;
	struct rand r;

	rand_seed(&r, (uint64_t)(a->slot - a->l->slot));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t bytes = (1 + rand_below(&r, 64)) << PAGE_SHIFT;

		if (rand_below(&r, 500) == 0) {
			a->used = 0;
			ledger_return_all(a->l, a->slot);
		}
		if (rand_below(&r, 100) == 0) {
			atomic_store(&a->slot->allowed, 0);
			ledger_trim(a->l, a->slot, ledger_native_grant(a->used + KEEP_PAGES));
			look(a->slot, a->used);
		}
		if (atomic_fetch_sub(&a->slot->allowed, (int64_t)bytes) >= (int64_t)bytes) {
			a->used += bytes >> PAGE_SHIFT;
			continue;
		}
		atomic_store(&a->slot->allowed, 0);
		a->broken |= !within_grant(a);
		if (ledger_grant(a->l, a->slot, rand_below(&r, 3000)) < 100)
			ledger_overdraw(a->l, a->slot, 100);
		look(a->slot, a->used);
	}
	return NULL;
}

static void *thief(void *arg)
{
	struct actor *a = arg;
	struct rand r;

	rand_seed(&r, 99);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ledger_squeeze(a->l, a->slot, rand_below(&r, 2000));
		if (i % 3 == 0)
			ledger_return(a->l, a->slot, atomic_load(&a->slot->granted));
	}
	return NULL;
}

static void the_budget_holds_while_all_act_at_once(void **state)
{
	struct ledger *l = new_ledger(OWNERS + THIEVES);
	struct actor actors[OWNERS + THIEVES];

	(void)state;
	for (unsigned i = 0; i < OWNERS + THIEVES; i++) {
		actors[i] = (struct actor){ .l = l, .slot = &l->slot[i] };
		if (i >= OWNERS)
			atomic_store(&l->slot[i].state, LEDGER_ENGAGED);
	}
	for (unsigned i = 0; i < OWNERS + THIEVES; i++)
		assert_int_equal(pthread_create(&actors[i].thread, NULL, i < OWNERS ? owner : thief, &actors[i]), 0);
	for (unsigned i = 0; i < OWNERS + THIEVES; i++)
		pthread_join(actors[i].thread, NULL);
	assert_int_equal(handed_out(l), RAM);
	for (unsigned i = 0; i < OWNERS; i++) {
		assert_false(actors[i].broken);
		assert_true(fits(actors[i].slot, actors[i].used));
	}
	free(l);
}

/* Of a pid that nobody has. */
static int32_t gone_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return (int32_t)pid;
}

/* As long as there is a launcher slots are its business; then those that it left running can go on to fork. */
static void slots_of_the_dead_serve_others_when_the_launcher_has_ended(void **state)
{
	struct ledger *l = new_ledger(0);
	int32_t here = (int32_t)getpid(), gone = gone_pid();
	struct ledger_slot *s;

	(void)state;
	for (uint64_t i = 0; i < LEDGER_SLOTS; i++)
		assert_non_null(s = ledger_claim(l, i == 7 ? here : gone, i + 1));
	ledger_grant(l, s, 100);
	assert_null(ledger_claim(l, here, LEDGER_SLOTS + 1));
	atomic_store(&l->ended, 1);
	assert_ptr_equal(ledger_claim(l, here, LEDGER_SLOTS + 1), &l->slot[0]);
	assert_int_equal(atomic_load(&l->slot[7].pid), here);
	assert_int_equal(atomic_load(&l->slot[8].pid), 0);
	assert_int_equal(handed_out(l), RAM);
	assert_int_equal(ledger_free(l), RAM);
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_of_the_dead_serve_others_when_the_launcher_has_ended),
		cmocka_unit_test(squeeze_takes_what_is_allowed_and_unused),
		cmocka_unit_test(what_is_beyond_the_need_goes_back),
		cmocka_unit_test(squeeze_leaves_those_alone_that_count_every_page),
		cmocka_unit_test(a_process_that_ends_leaves_everything),
		cmocka_unit_test(small_processes_overdraw_and_who_can_repays),
		cmocka_unit_test(the_budget_holds_while_all_act_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

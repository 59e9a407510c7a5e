/* cli/run/stall.c on a made-up clock: shares against the sum written out, and when something is said or done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rand.h"
#include "cli/run/stall.h"

#define MS 1000000ull
#define TICK (50 * MS)

struct world {
	struct ledger *l;
	struct watch watch;
	struct oom oom;
	struct stall stall;
	uint64_t now;
	int said, stderr_before; /* a file takes what is said */
};

static void open_world(struct world *w, unsigned processes)
{
	FILE *f = tmpfile();

	memset(w, 0, sizeof(*w));
	w->l = aligned_alloc(PAGE_SIZE, ALIGN_UP(sizeof(*w->l), PAGE_SIZE));
	assert_non_null(w->l);
	memset(w->l, 0, sizeof(*w->l));
	w->l->ram_pages = 100;
	for (unsigned i = 0; i < processes; i++) {
		struct ledger_slot *s = &w->l->slot[i];

		/* Its rows are read from /proc: it is somebody who is there. */
		atomic_store(&s->pid, getpid());
		s->start_time = 1 + i;
		snprintf(s->comm, sizeof(s->comm), "p%u", i);
		atomic_store(&s->state, LEDGER_ENGAGED);
		s->now.managed = 1000;
	}
	atomic_store(&w->l->slots_used, processes);
	watch_init(&w->watch, w->l);
	w->oom.options.dry_run = true;
	oom_init(&w->oom, &w->watch);
	stall_init(&w->stall, w->l);
	w->now = 1000 * TICK;
	fflush(stderr);
	w->stderr_before = dup(STDERR_FILENO);
	w->said = dup(fileno(f));
	dup2(w->said, STDERR_FILENO);
	fclose(f);
}

/* What has been said, in text. */
static void close_world(struct world *w, char *text, size_t size)
{
	ssize_t n;

	dup2(w->stderr_before, STDERR_FILENO);
	close(w->stderr_before);
	n = pread(w->said, text, size - 1, 0);
	close(w->said);
	text[n > 0 ? n : 0] = '\0';
	free(w->l);
}

/* Process i waits for so many thousandths of the next ns. */
static void waits(struct world *w, unsigned i, uint64_t thousandths, uint64_t ns)
{
	w->l->slot[i].counter[VM_stall_ns] += ns / 1000 * thousandths;
}

static void tick(struct world *w)
{
	w->now += TICK;
	stall_tick(&w->stall, &w->oom, w->now);
}

/* Past the time in which the average is that of a whole life. */
static void grow_old(struct world *w)
{
	for (unsigned t = 0; t < 3000 * MS / TICK; t++)
		tick(w);
}

static unsigned share(struct world *w, unsigned i)
{
	return atomic_load(&w->l->slot[i].stall);
}

static void a_steady_share_is_what_is_shown(void **state)
{
	char said[512];
	struct world w;

	(void)state;
	open_world(&w, 3);
	tick(&w);
	for (unsigned t = 0; t < 400; t++) {
		waits(&w, 0, 250, TICK);
		waits(&w, 1, t % 2 == 0 ? 1000 : 0, TICK);
		tick(&w);
	}
	close_world(&w, said, sizeof(said) / 2);
	assert_in_range(w.stall.task[0].average * 1000, 248, 251);
	assert_in_range(w.stall.task[1].average * 1000, 480, 520);
	assert_true(w.stall.task[2].average == 0);
	assert_string_equal(said, "");
}

/* Against the whole past weighed: a look dt ago, with its share s, counts with the product of what all later ones left. */
static void the_average_is_the_weighed_past(void **state)
{
	enum { LOOKS = 300 };
	double share_of[LOOKS], left[LOOKS], want = 0, age = TICK;
	struct world w;
	struct rand r;
	char said[64];

	(void)state;
	rand_seed(&r, 1);
	open_world(&w, 1);
	tick(&w);
	tick(&w);
	/* Its first look, in which it has not waited, is as old as it is: the mean of all looks until it is two seconds old. */
	for (unsigned i = 0; i < LOOKS; i++) {
		uint64_t dt = TICK + rand_below(&r, 500 * MS), waited = rand_below(&r, dt + 1);

		share_of[i] = (double)waited / (double)dt;
		left[i] = MIN(age, 2e9) / (MIN(age, 2e9) + (double)dt);
		age += (double)dt;
		w.now += dt;
		w.l->slot[0].counter[VM_stall_ns] += waited;
		stall_tick(&w.stall, &w.oom, w.now);
	}
	for (unsigned i = 0; i < LOOKS; i++) {
		double weight = 1 - left[i];

		for (unsigned later = i + 1; later < LOOKS; later++)
			weight *= left[later];
		want += weight * share_of[i];
	}
	close_world(&w, said, sizeof(said));
	assert_true(fabs(w.stall.task[0].average - want) < 1e-9);
}

static void a_fault_that_is_not_over_counts(void **state)
{
	char said[512];
	struct world w;

	(void)state;
	open_world(&w, 1);
	tick(&w);
	atomic_store(&w.l->slot[0].fault_since, w.now);
	for (unsigned t = 0; t < 100; t++)
		tick(&w);
	assert_in_range(share(&w, 0), 900, 1000);
	/* It ends, and the counter has it: not a second time. */
	w.l->slot[0].counter[VM_stall_ns] += 100 * TICK;
	atomic_store(&w.l->slot[0].fault_since, 0);
	uint64_t before = share(&w, 0);

	tick(&w);
	assert_true(share(&w, 0) < before);
	close_world(&w, said, sizeof(said));
}

static void thrashing_is_said_once_after_ten_seconds(void **state)
{
	char said[512], want[512];
	struct world w;

	(void)state;
	open_world(&w, 2);
	grow_old(&w);
	/* 0.8 of the average after 1.6 time constants of 2 s, and ten seconds more. */
	for (unsigned t = 0; t < 255; t++) {
		waits(&w, 1, 1000, TICK);
		tick(&w);
		assert_false(w.stall.warned);
	}
	for (unsigned t = 0; t < 600; t++) {
		waits(&w, 1, 1000, TICK);
		tick(&w);
	}
	close_world(&w, said, sizeof(said));
	snprintf(want, sizeof(want), "steward: thrashing: p1 (pid %d) has waited for pages ", (int)getpid());
	assert_memory_equal(said, want, strlen(want));
	assert_non_null(strstr(said, " pages 100 % of the last ten seconds; raise --ram (what all processes have now needs "));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

static void a_young_process_is_known_at_once(void **state)
{
	char said[512];
	struct world w;

	(void)state;
	open_world(&w, 1);
	tick(&w);
	for (unsigned t = 0; t < 4; t++) {
		waits(&w, 0, 900, TICK);
		tick(&w);
	}
	assert_in_range(share(&w, 0), 890, 900);
	/* Another process in the slot begins anew. */
	w.l->slot[0].start_time = 77;
	w.l->slot[0].counter[VM_stall_ns] = 0;
	tick(&w);
	assert_int_equal(share(&w, 0), 0);
	close_world(&w, said, sizeof(said));
	assert_string_equal(said, "");
}

static void a_pause_begins_the_time_anew(void **state)
{
	char said[512];
	struct world w;

	(void)state;
	open_world(&w, 1);
	for (unsigned t = 0; t < 1000; t++) {
		waits(&w, 0, t % 200 < 180 ? 1000 : 0, TICK);
		tick(&w);
	}
	close_world(&w, said, sizeof(said));
	assert_string_equal(said, "");
}

static void somebody_goes_when_the_limit_lasts(void **state)
{
	char said[1024];
	struct world w;
	unsigned t = 0;

	(void)state;
	open_world(&w, 2);
	assert_int_equal(stall_set_limit(&w.stall.options, "50:3"), 0);
	grow_old(&w);
	for (; w.watch.fatal[0] == '\0' && t < 200; t++) {
		waits(&w, 0, 1000, TICK);
		tick(&w);
	}
	close_world(&w, said, sizeof(said));
	/* Half of the average after 1.4 s, and three more. */
	assert_in_range(t, 80, 95);
	assert_non_null(strstr(said, "steward: stalled for too long: would have killed "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_steady_share_is_what_is_shown),
		cmocka_unit_test(the_average_is_the_weighed_past),
		cmocka_unit_test(a_fault_that_is_not_over_counts),
		cmocka_unit_test(thrashing_is_said_once_after_ten_seconds),
		cmocka_unit_test(a_young_process_is_known_at_once),
		cmocka_unit_test(a_pause_begins_the_time_anew),
		cmocka_unit_test(somebody_goes_when_the_limit_lasts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mm/reclaim/oom.c against the formula written out, and a choice made with the whole list in sight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/rand.h"
#include "mm/reclaim/oom.h"

#define TASKS_MAX 24

static struct oom_task task(uint64_t anon, int16_t adj)
{
	return (struct oom_task){ .rss_anon = anon, .oom_score_adj = adj, .name = "t" };
}

/* As the kernel's documents say it: memory, page tables in pages, and whole thousandths of all memory for adj. */
static __int128 formula(const struct oom_task *t, uint64_t totalpages)
{
	__int128 pages = t->rss_anon, thousandth = totalpages / 1000;

	pages += t->rss_file;
	pages += t->rss_shmem;
	pages += t->swapents;
	pages += t->pgtables_bytes >> 12;
	for (int i = 0; i < t->oom_score_adj; i++)
		pages += thousandth;
	for (int i = 0; i > t->oom_score_adj; i--)
		pages -= thousandth;
	return pages;
}

static bool immune(const struct oom_task *t)
{
	return t->oom_score_adj == -1000 || (t->flags & (OOM_UNKILLABLE | OOM_NO_MM | OOM_SKIP));
}

static struct oom_task random_task(struct rand *r, unsigned pid, uint64_t totalpages)
{
	static const int16_t adj[] = { 0, 0, 0, 0, -1000, 1000, -999, -500, 300, 1 };
	static const uint8_t flags[] = {
		OOM_UNKILLABLE, OOM_NO_MM, OOM_VICTIM | OOM_SKIP, OOM_ELSEWHERE, OOM_SKIP, OOM_ORIGIN, OOM_VICTIM,
		OOM_VICTIM | OOM_ELSEWHERE, OOM_ORIGIN | OOM_ELSEWHERE, OOM_VICTIM | OOM_SKIP | OOM_NO_MM,
	};
	uint64_t some = totalpages / 8 + 2;

	return (struct oom_task){
		.pid = pid,
		.rss_anon = rand_below(r, 2) ? rand_below(r, some) : rand_below(r, 4),
		.rss_file = rand_below(r, 2) ? rand_below(r, some) : 0,
		.rss_shmem = rand_below(r, 4) ? 0 : rand_below(r, some),
		.swapents = rand_below(r, 2) ? rand_below(r, some) : 0,
		.pgtables_bytes = rand_below(r, 100) * 1000,
		.oom_score_adj = adj[rand_below(r, ARRAY_SIZE(adj))],
		.flags = rand_below(r, 12) ? 0 : flags[rand_below(r, ARRAY_SIZE(flags))],
	};
}

static void points_are_the_formula(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t totalpages = 1 + rand_below(&r, (uint64_t)1 << (1 + rand_below(&r, 36)));
		struct oom_task t = random_task(&r, i, totalpages);
		__int128 want = formula(&t, totalpages);

		t.flags &= (uint8_t)~OOM_ORIGIN;
		if (immune(&t)) {
			assert_true(oom_badness(&t, totalpages) == OOM_NEVER);
			assert_int_equal(oom_score(&t, totalpages), 0);
			continue;
		}
		assert_true(oom_badness(&t, totalpages) == want);
		/* C's division towards zero, as in the kernel. */
		assert_true(oom_score(&t, totalpages) == (1000 + want * 1000 / totalpages) * 2 / 3);
	}
}

static void worked_out_points(void **state)
{
	struct oom_task t = {
		.rss_anon = 100, .rss_file = 20, .rss_shmem = 3, .swapents = 1000, .pgtables_bytes = 8191,
	};

	(void)state;
	assert_int_equal(oom_footprint(&t), 1124);
	assert_int_equal(oom_badness(&t, 100000), 1124);
	t.oom_score_adj = 500;
	assert_int_equal(oom_badness(&t, 100000), 1124 + 50000);
	/* Thousandths are whole pages: 1999 / 1000 is one, and below 1000 pages there is none. */
	assert_int_equal(oom_badness(&t, 1999), 1124 + 500);
	assert_int_equal(oom_badness(&t, 999), 1124);
	t.oom_score_adj = -500;
	assert_int_equal(oom_badness(&t, 100000), 1124 - 50000);
	t.oom_score_adj = -1000;
	assert_true(oom_badness(&t, 100000) == OOM_NEVER);
}

static void scores_of_proc(void **state)
{
	struct oom_task t = task(0, 0);

	(void)state;
	assert_int_equal(oom_score(&t, 1000000), 666);
	t = task(1000000, 1000);
	assert_int_equal(oom_score(&t, 1000000), 2000);
	t = task(500000, 0);
	assert_int_equal(oom_score(&t, 1000000), 1000);
	t = task(0, -999);
	assert_int_equal(oom_score(&t, 1000000), 0);
	t = task(0, -998);
	assert_int_equal(oom_score(&t, 1000000), 1);
	t = task(1000, -500);
	assert_int_equal(oom_score(&t, 1000000), 334);
}

/* Scans the list; what is left of it after an end is not looked at. */
static void scan(struct oom_scan *s, const struct oom_task *t, unsigned n, uint64_t totalpages)
{
	unsigned i = 0;

	oom_scan_init(s, totalpages);
	while (i < n && oom_scan_task(s, &t[i]))
		i++;
	assert_int_equal(s->nr_scanned, i + (i < n));
	assert_int_equal(s->outcome == OOM_WAIT, i < n);
}

/* What a scan should find: indexes, -1 for nobody. */
struct choice {
	int dying, worst, next, largest;
	unsigned killable;
	__int128 points[TASKS_MAX];
	bool out[TASKS_MAX];
};

static void choose(const struct oom_task *t, int n, uint64_t totalpages, struct choice *c)
{
	*c = (struct choice){ .dying = -1, .worst = -1, .next = -1, .largest = -1 };
	for (int i = 0; i < n && c->dying < 0; i++) {
		bool unfit = t[i].flags & (OOM_UNKILLABLE | OOM_ELSEWHERE), origin = t[i].flags & OOM_ORIGIN;
		bool drained = (t[i].flags & OOM_VICTIM) && (t[i].flags & OOM_SKIP);

		c->points[i] = origin ? INT64_MAX : formula(&t[i], totalpages);
		c->out[i] = unfit || drained || (immune(&t[i]) && !origin);
		c->killable += !c->out[i];
		if (!unfit && !drained && (t[i].flags & OOM_VICTIM))
			c->dying = i;
		if (!unfit && !(t[i].flags & (OOM_NO_MM | OOM_SKIP)) &&
		    (c->largest < 0 || oom_footprint(&t[i]) >= oom_footprint(&t[c->largest])))
			c->largest = i;
		if (!c->out[i] && (c->worst < 0 || c->points[i] >= c->points[c->worst]))
			c->worst = i;
	}
	for (int i = 0; i < n && c->dying < 0; i++) {
		if (i != c->worst && !c->out[i] && (c->next < 0 || c->points[i] >= c->points[c->next]))
			c->next = i;
	}
}

static void compare(const struct oom_scan *s, const struct choice *c)
{
	if (c->dying >= 0) {
		assert_int_equal(s->outcome, OOM_WAIT);
		assert_int_equal(s->victim.pid, c->dying);
		return;
	}
	assert_int_equal(s->outcome, c->worst < 0 ? OOM_NONE : OOM_KILL);
	assert_int_equal(s->nr_killable, c->killable);
	assert_int_equal(s->nr_sized > 0, c->largest >= 0);
	assert_true(c->largest < 0 || s->largest.pid == (unsigned)c->largest);
	assert_int_equal(s->second_points != OOM_NEVER, c->next >= 0);
	assert_true(c->next < 0 || s->second.pid == (unsigned)c->next);
	assert_true(c->worst < 0 || s->victim.pid == (unsigned)c->worst);
	assert_true(c->worst < 0 || s->points == c->points[c->worst]);
}

static void the_choice_is_the_last_of_the_worst(void **state)
{
	unsigned outcomes[3] = { 0 }, reasons[OOM_BY_SIZE + 1] = { 0 };
	struct rand r;

	(void)state;
	rand_seed(&r, 2);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t totalpages = rand_below(&r, 4) ? 64 + rand_below(&r, 100000) : 40;
		unsigned n = (unsigned)rand_below(&r, rand_below(&r, 4) ? TASKS_MAX : 3);
		struct oom_task t[TASKS_MAX];
		struct choice c;
		struct oom_scan s;

		for (unsigned i = 0; i < n; i++)
			t[i] = random_task(&r, i, totalpages);
		choose(t, (int)n, totalpages, &c);
		scan(&s, t, n, totalpages);
		compare(&s, &c);
		outcomes[s.outcome]++;
		if (s.outcome == OOM_KILL) {
			reasons[oom_scan_reason(&s)]++;
			assert_true(strlen(oom_reason_text(oom_scan_reason(&s))) > 0);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		assert_true(outcomes[i] > 100);
	/* All that the kernel's policy can give. */
	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++)
		assert_true(reasons[i] > 100 || i == OOM_BY_AGE || i == OOM_BY_GROWTH);
}

static enum oom_reason reason_of(const struct oom_task *t, unsigned n)
{
	struct oom_scan s;

	scan(&s, t, n, 100000);
	return oom_scan_reason(&s);
}

/* The pid that a policy chooses of four: the oldest and largest, one that memory is asked back from by adj, the one that grows, the youngest. */
static uint32_t chosen(enum oom_policy policy, enum oom_reason *reason)
{
	static const struct oom_task t[] = {
		{ .pid = 1, .rss_anon = 900, .started = 10, .growth = 0 },
		{ .pid = 2, .rss_anon = 100, .started = 20, .growth = 5, .oom_score_adj = 500 },
		{ .pid = 3, .rss_anon = 300, .started = 30, .growth = 80 },
		{ .pid = 4, .rss_anon = 200, .started = 40, .growth = 7 },
		{ .pid = 5, .rss_anon = 9000, .started = 50, .growth = 9000, .oom_score_adj = -1000 },
	};
	struct oom_scan s;

	oom_scan_init(&s, 100000);
	s.policy = policy;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		assert_true(oom_scan_task(&s, &t[i]));
	*reason = oom_scan_reason(&s);
	return s.victim.pid;
}

static void a_policy_compares_by_what_its_name_says(void **state)
{
	enum oom_reason reason;

	(void)state;
	assert_int_equal(chosen(OOM_BADNESS, &reason), 2);
	assert_int_equal(reason, OOM_BY_ADJ);
	assert_int_equal(chosen(OOM_LARGEST, &reason), 1);
	assert_int_equal(reason, OOM_BY_ADJ);
	assert_int_equal(chosen(OOM_YOUNGEST, &reason), 4);
	assert_int_equal(reason, OOM_BY_AGE);
	assert_int_equal(chosen(OOM_GROWING, &reason), 3);
	assert_int_equal(reason, OOM_BY_GROWTH);
}

static void a_report_says_why_this_one(void **state)
{
	struct oom_scan s;

	(void)state;
	assert_int_equal(reason_of((struct oom_task[]){ task(10, 0), task(20, 0) }, 2), OOM_BY_SIZE);
	assert_int_equal(reason_of((struct oom_task[]){ task(20, 0), task(20, 0) }, 2), OOM_BY_TIE);
	assert_int_equal(reason_of((struct oom_task[]){ task(20, 0), task(90, -1000) }, 2), OOM_ALONE);
	assert_int_equal(reason_of((struct oom_task[]){ task(20, 0), task(90, -1), task(1, 0) }, 3), OOM_BY_ADJ);
	assert_int_equal(reason_of((struct oom_task[]){ task(20, 0), task(10, 1), task(1, 0) }, 3), OOM_BY_ADJ);
	struct oom_task origin = task(0, -1000);

	origin.flags = OOM_ORIGIN;
	assert_int_equal(reason_of((struct oom_task[]){ task(20, 0), origin, task(30, 0) }, 3), OOM_BY_ORIGIN);

	/* Points below zero are points. */
	scan(&s, (struct oom_task[]){ task(20, -900), task(30, -900) }, 2, 100000);
	assert_int_equal(s.outcome, OOM_KILL);
	assert_int_equal(s.points, 30 - 90000);
	scan(&s, NULL, 0, 100000);
	assert_int_equal(s.outcome, OOM_NONE);
}

static void nobody_else_dies_while_somebody_is_dying(void **state)
{
	struct oom_task t[] = { task(500, 0), task(5, 0), task(900, 0) };
	struct oom_scan s;

	(void)state;
	t[0].pid = 1;
	t[1].pid = 2;
	t[1].flags = OOM_VICTIM;
	scan(&s, t, 3, 100000);
	assert_int_equal(s.outcome, OOM_WAIT);
	assert_int_equal(s.victim.pid, 2);
	/* All it had is back, and it was not enough. */
	t[1].flags |= OOM_SKIP;
	scan(&s, t, 3, 100000);
	assert_int_equal(s.outcome, OOM_KILL);
	assert_int_equal(s.points, 900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_the_formula),
		cmocka_unit_test(worked_out_points),
		cmocka_unit_test(scores_of_proc),
		cmocka_unit_test(the_choice_is_the_last_of_the_worst),
		cmocka_unit_test(a_report_says_why_this_one),
		cmocka_unit_test(a_policy_compares_by_what_its_name_says),
		cmocka_unit_test(nobody_else_dies_while_somebody_is_dying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

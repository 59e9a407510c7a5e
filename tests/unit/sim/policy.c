/*
 * Each replacement policy on a machine of N frames that evicts one page when one is needed, against a naive model of the
 * same algorithm: the same misses on the same pages, touch by touch. And the strings of textbooks, worked out on paper.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/engine.h"

enum { PAGES_MAX = 256, TOUCHES_MAX = 6000, FRAMES_MAX = 128, BASE = 5000 };

static struct sim *sim;
static struct sim_task *task;

static void machine_config(struct sim_config *c, const char *policy, unsigned frames)
{
	sim_config_default(c);
	c->cpus = 1;
	c->nr_zones = c->nr_nodes = 1;
	c->zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = 64 * MIB };
	c->limit_bytes = (uint64_t)frames * PAGE_SIZE;
	c->limit_tables = false;
	c->limit_flush_ns = 0;
	c->reclaim_batch = 1;
	c->fault_young = false;
	c->flush_young = true;
	c->nr_swaps = 1;
	c->swap[0] = (struct sim_swap_config){ .kind = SIM_SWAP_COMPRESSED, .size_bytes = 64 * MIB };
	snprintf(c->policy, sizeof(c->policy), "%s", policy);
}

static void machine_make(const char *policy, unsigned frames)
{
	struct sim_config_error error;
	struct sim_config c;

	machine_config(&c, policy, frames);
	sim = sim_create(&c, &error);
	assert_non_null(sim);
}

static void event(const struct trace_event *e)
{
	const char *error = NULL;

	assert_int_equal(sim_event(sim, e, &error), 0);
}

static void begin_task(void)
{
	event(&(struct trace_event){ .op = TRACE_TASK, .text = "t", .text_len = 1 });
	task = sim_task(sim, 0);
}

static uint64_t faults(void)
{
	return task->faults[SIM_MINOR] + task->faults[SIM_MAJOR] + task->faults[SIM_SOFT] + task->faults[SIM_COW];
}

/* Was it a miss? */
static bool touch(unsigned page)
{
	uint64_t before = faults();

	event(&(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = BASE + page, .n = 1 });
	assert_in_range(faults() - before, 0, 1);
	return faults() != before;
}

/* The pages of a run, one a touch. */
struct string {
	unsigned n;
	uint8_t page[TOUCHES_MAX];
};

/* What the optimum must know, by looking ahead from each touch. */
static void foresee(const struct string *s)
{
	struct foresight *f = &sim->foresight;

	f->n = s->n;
	f->room = TOUCHES_MAX;
	f->next = mmap(NULL, f->room * sizeof(*f->next), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->next != MAP_FAILED);
	for (unsigned i = 0; i < s->n; i++) {
		unsigned k = i + 1;

		while (k < s->n && s->page[k] != s->page[i])
			k++;
		f->next[i] = k < s->n ? k : UINT64_MAX;
	}
}

/*
 * The models. Resident pages in an array, in the order that matters to the policy; where a queue is meant, [0] is the old end.
 */

struct entry {
	unsigned page;
	bool used;
	bool first;        /* second-chance: NEW; s3-fifo: SMALL */
	unsigned gen;      /* mglru */
};

static struct {
	const struct string *string;
	unsigned at;       /* the touch that is served */
	unsigned frames, n;
	struct entry e[FRAMES_MAX];
	/* s3-fifo and second-chance: what was evicted, when, and from where. */
	uint64_t age, left[PAGES_MAX];
	bool was_out[PAGES_MAX], was_first[PAGES_MAX];
	unsigned max_gen, min_gen;
} model;

static struct entry take(unsigned i)
{
	struct entry e = model.e[i];

	memmove(&model.e[i], &model.e[i + 1], (--model.n - i) * sizeof(e));
	return e;
}

static void put(struct entry e)
{
	model.e[model.n++] = e;
}

static void add_plain(unsigned page)
{
	put((struct entry){ .page = page });
}

static void evict_fifo(void)
{
	take(0);
}

static void hit_lru(unsigned i)
{
	put(take(i));
}

static void hit_used(unsigned i)
{
	model.e[i].used = true;
}

static void hit_nothing(unsigned i)
{
	(void)i;
}

static void evict_clock(void)
{
	while (model.e[0].used) {
		struct entry e = take(0);

		e.used = false;
		put(e);
	}
	take(0);
}

static unsigned next_use(unsigned page)
{
	unsigned k = model.at + 1;

	while (k < model.string->n && model.string->page[k] != page)
		k++;
	return k;
}

static void evict_opt(void)
{
	unsigned worst = 0;

	for (unsigned i = 1; i < model.n; i++)
		if (next_use(model.e[i].page) > next_use(model.e[worst].page))
			worst = i;
	take(worst);
}

/* Two queues in one array: entry i is in the first or in the second. */
static unsigned count_first(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < model.n; i++)
		n += model.e[i].first;
	return n;
}

static unsigned oldest(bool first)
{
	for (unsigned i = 0; i < model.n; i++)
		if (model.e[i].first == first)
			return i;
	return FRAMES_MAX;
}

static void leave(struct entry e)
{
	model.was_out[e.page] = true;
	model.was_first[e.page] = e.first;
	model.left[e.page] = model.age++;
}

/* From the queue until one goes, or none is left in it. Used ones go to the second queue. */
static bool evict_from(bool first)
{
	for (unsigned i; (i = oldest(first)) != FRAMES_MAX;) {
		struct entry e = take(i);

		if (!e.used) {
			leave(e);
			return true;
		}
		e.used = e.first = false;
		put(e);
	}
	return false;
}

static void evict_s3fifo(void)
{
	if (count_first() >= model.n / 10 && evict_from(true))
		return;
	evict_from(oldest(false) == FRAMES_MAX);
}

static void evict_second_chance(void)
{
	bool first = count_first() > model.n / 8 || oldest(false) == FRAMES_MAX;

	if (!evict_from(first))
		evict_second_chance();
}

/* How long ago, in evictions and returns, was it evicted? */
static bool back_within(unsigned page, uint64_t distance)
{
	if (!model.was_out[page] || model.age - model.left[page] > distance)
		return false;
	model.age++;
	return true;
}

static void add_s3fifo(unsigned page)
{
	/* The place for it has been made: one page of the machine is not there. */
	bool ghost = back_within(page, model.n - model.n / 10);

	put((struct entry){ .page = page, .first = !(ghost && model.was_first[page]) });
}

static void add_second_chance(unsigned page)
{
	put((struct entry){ .page = page, .first = !back_within(page, model.n - count_first()) });
}

static unsigned count_gen(unsigned gen)
{
	unsigned n = 0;

	for (unsigned i = 0; i < model.n; i++)
		n += model.e[i].gen == gen;
	return n;
}

/* The oldest generation that has pages, but for the two youngest ones, which may be empty. */
static void retire(void)
{
	while (model.min_gen + 2 <= model.max_gen && count_gen(model.min_gen) == 0)
		model.min_gen++;
}

/* Entries stay in the order of their generations, and within one of their coming. */
static void age_generations(void)
{
	for (unsigned gen = model.max_gen + 1; gen-- > model.min_gen;) {
		for (unsigned i = 0, n = model.n; n > 0; n--) {
			if (model.e[i].gen != gen || !model.e[i].used) {
				i++;
				continue;
			}
			model.e[i].used = false;
			if (gen == model.max_gen) {
				i++;
				continue;
			}
			struct entry e = take(i);

			e.gen = model.max_gen;
			put(e);
		}
	}
	retire();
	for (unsigned i = 0; model.max_gen - model.min_gen == 3 && i < model.n; i++)
		if (model.e[i].gen == model.min_gen)
			model.e[i].gen++;
	model.min_gen += model.max_gen - model.min_gen == 3;
	model.max_gen++;
}

static void evict_mglru(void)
{
	for (unsigned aged = 0; aged < 4; aged++) {
		bool must = model.min_gen + 2 > model.max_gen, wanted = model.min_gen + 2 == model.max_gen && aged == 0 &&
			(count_gen(model.max_gen) * 2 > model.n || count_gen(model.max_gen - 2) * 4 < model.n);

		if (!must && !wanted)
			break;
		age_generations();
	}
	while (model.e[0].used) {
		struct entry e = take(0);

		e.used = false;
		e.gen = model.max_gen;
		put(e);
	}
	take(0);
	retire();
}

static void add_mglru(unsigned page)
{
	put((struct entry){ .page = page, .gen = model.max_gen });
}

struct algorithm {
	const char *name;
	void (*hit)(unsigned i);
	void (*evict)(void);
	void (*add)(unsigned page);
};

static const struct algorithm algorithms[] = {
	{ "fifo", hit_nothing, evict_fifo, add_plain },
	{ "lru", hit_lru, evict_fifo, add_plain },
	{ "clock", hit_used, evict_clock, add_plain },
	{ "opt", hit_nothing, evict_opt, add_plain },
	{ "s3-fifo", hit_used, evict_s3fifo, add_s3fifo },
	{ "second-chance", hit_used, evict_second_chance, add_second_chance },
	{ "mglru", hit_used, evict_mglru, add_mglru },
};

static void model_make(const struct string *s, unsigned frames)
{
	memset(&model, 0, sizeof(model));
	model.string = s;
	model.frames = frames;
	model.max_gen = 3;
}

static bool model_touch(const struct algorithm *a, unsigned page)
{
	for (unsigned i = 0; i < model.n; i++) {
		if (model.e[i].page == page) {
			a->hit(i);
			return false;
		}
	}
	if (model.n == model.frames)
		a->evict();
	a->add(page);
	return true;
}

/* Strings. */

static void make_string(struct string *s, struct rand *r)
{
	unsigned kind = (unsigned)rand_below(r, 4), pages = 2 + (unsigned)rand_below(r, PAGES_MAX - 2), hot = 1 + pages / 5;

	s->n = 500 + (unsigned)rand_below(r, TOUCHES_MAX - 500);
	for (unsigned i = 0; i < s->n; i++) {
		unsigned any = (unsigned)rand_below(r, pages);

		switch (kind) {
		case 0: s->page[i] = (uint8_t)any; break;
		case 1: s->page[i] = (uint8_t)(i % pages); break;
		/* Hot pages among a scan. */
		case 2: s->page[i] = (uint8_t)(rand_below(r, 10) < 6 ? rand_below(r, hot) : i % pages); break;
		/* A law of powers, roughly, whose favourites change. */
		default: s->page[i] = (uint8_t)((any * (uint64_t)any / pages * rand_below(r, pages) / pages + i / 1000 * 7) % pages);
		}
	}
}

static void run(const struct algorithm *a, const struct string *s, unsigned frames)
{
	machine_make(a->name, frames);
	if (sim->m.policy->foresight)
		foresee(s);
	begin_task();
	model_make(s, frames);
	for (unsigned i = 0; i < s->n; i++) {
		model.at = i;
		bool want = model_touch(a, s->page[i]), got = touch(s->page[i]);

		if (want != got)
			fail_msg("%s, %u frames: touch %u of page %u %s", a->name, frames, i, s->page[i], want ? "must miss" : "must hit");
		assert_int_equal(sim->m.charged, model.n);
		if (i % 500 == 0)
			sim_check(sim);
	}
	sim_check(sim);
	sim_destroy(sim);
}

static void each_policy_misses_when_its_naive_model_misses(void **state)
{
	static struct string s;
	struct rand r;

	(void)state;
	rand_seed(&r, 4);
	for (unsigned round = 0; round < 12; round++) {
		make_string(&s, &r);
		for (unsigned i = 0; i < ARRAY_SIZE(algorithms); i++)
			run(&algorithms[i], &s, 1 + (unsigned)rand_below(&r, round < 4 ? 8 : FRAMES_MAX - 1));
	}
}

static unsigned misses(const char *policy, const char *text, unsigned frames)
{
	struct string s = { 0 };
	unsigned n = 0;

	for (; text[s.n] != '\0'; s.n++)
		s.page[s.n] = (uint8_t)(text[s.n] - '0');
	machine_make(policy, frames);
	if (sim->m.policy->foresight)
		foresee(&s);
	begin_task();
	for (unsigned i = 0; i < s.n; i++)
		n += touch(s.page[i]);
	sim_check(sim);
	sim_destroy(sim);
	return n;
}

/* Belady, Nelson and Shedler, CACM 12 (1969): with FIFO a fourth frame makes it worse. */
static void beladys_string_has_the_faults_of_the_textbooks(void **state)
{
	static const char string[] = "123412512345";

	(void)state;
	assert_int_equal(misses("fifo", string, 3), 9);
	assert_int_equal(misses("fifo", string, 4), 10);
	assert_int_equal(misses("lru", string, 3), 10);
	assert_int_equal(misses("lru", string, 4), 8);
	assert_int_equal(misses("opt", string, 3), 7);
	assert_int_equal(misses("opt", string, 4), 6);
	/* With three frames 1 and 2 are passed over for 5, which is needed again; with four, for 3 and 4, as LRU does. */
	assert_int_equal(misses("clock", string, 3), 10);
	assert_int_equal(misses("clock", string, 4), 8);
}

/* Silberschatz, Galvin and Gagne, Operating System Concepts, ch. 10: 15, 9 and 12 faults with three frames. */
static void the_dinosaur_books_string_too(void **state)
{
	static const char string[] = "70120304230321201701";

	(void)state;
	assert_int_equal(misses("fifo", string, 3), 15);
	assert_int_equal(misses("opt", string, 3), 9);
	assert_int_equal(misses("lru", string, 3), 12);
}

/* A loop that is one page too long is LRU's worst case, of which random keeps most. */
static void random_keeps_what_chance_keeps(void **state)
{
	enum { FRAMES = 50, LOOP = 60, ROUNDS = 400 };
	unsigned n = 0, naive = 0, resident[FRAMES], have = 0;
	struct rand r;

	(void)state;
	rand_seed(&r, 99);
	machine_make("random", FRAMES);
	begin_task();
	for (unsigned i = 0; i < LOOP * ROUNDS; i++) {
		unsigned page = i % LOOP, k = 0;

		n += touch(page);
		while (k < have && resident[k] != page)
			k++;
		if (k < have)
			continue;
		naive++;
		if (have < FRAMES)
			resident[have++] = page;
		else
			resident[rand_below(&r, FRAMES)] = page;
	}
	sim_check(sim);
	sim_destroy(sim);
	assert_in_range(n * 100, naive * 97, naive * 103);
	/* Nothing but chance: all policies with lists miss every touch here. */
	assert_true(n < LOOP * ROUNDS / 2);
}

/* Without room in swap no anonymous page can leave: a policy must come to an end, and the killer to its turn. */
static void a_full_swap_ends_in_the_oom_killer_and_not_in_a_loop(void **state)
{
	(void)state;
	for (unsigned i = 0; policy_nth(i) != NULL; i++) {
		struct sim_config_error error;
		struct sim_config c;

		machine_config(&c, policy_nth(i)->name, 20);
		c.swap[0].size_bytes = 8 * PAGE_SIZE;
		sim = sim_create(&c, &error);
		assert_non_null(sim);
		begin_task();
		for (unsigned page = 0; page < 100 && task->end == SIM_RUNS; page++)
			event(&(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = BASE + page, .n = 1 });
		assert_int_equal(task->end, SIM_KILLED_OOM);
		assert_in_range(task->mm.rss + task->mm.swapents, 0, 28);
		sim_check(sim);
		sim_destroy(sim);
	}
}

/* Pages that go by munmap are not told to a policy. (Two lists need more than a batch of 31 new pages to find any.) */
static void pages_that_are_unmapped_are_not_missed(void **state)
{
	struct rand r;

	(void)state;
	for (unsigned i = 0; policy_nth(i) != NULL; i++) {
		machine_make(policy_nth(i)->name, 100);
		begin_task();
		rand_seed(&r, i);
		for (unsigned k = 0; k < 3000; k++) {
			touch((unsigned)rand_below(&r, 200));
			if (rand_below(&r, 20) == 0)
				event(&(struct trace_event){ .op = TRACE_DROP, .vpn = BASE + rand_below(&r, 190),
							     .n = 1 + rand_below(&r, 10) });
			if (k % 500 == 0)
				sim_check(sim);
		}
		assert_int_equal(task->end, SIM_RUNS);
		assert_in_range(sim->m.charged, 1, 100);
		sim_check(sim);
		sim_destroy(sim);
	}
}

/* Files and anonymous memory together, and without accessed bits where that makes sense. */
static void files_and_sampling_keep_the_laws(void **state)
{
	(void)state;
	for (unsigned i = 0; policy_nth(i) != NULL; i++) {
		for (unsigned bits = policy_nth(i)->sampled ? 0 : 1; bits < 2; bits++) {
			struct sim_config_error error;
			struct sim_config c;
			struct rand r;

			machine_config(&c, policy_nth(i)->name, 100);
			c.accessed_bits = bits;
			c.reclaim_batch = 32;
			/* The sampling engine leaves files to its host. */
			bool files = bits;

			sim = sim_create(&c, &error);
			assert_non_null(sim);
			begin_task();
			event(&(struct trace_event){ .op = TRACE_FILE, .file = 1, .n = 200, .text = "f", .text_len = 1 });
			event(&(struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W, .vpn = BASE, .n = 200 });
			if (files)
				event(&(struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W | TRACE_MAP_SHARED,
							     .vpn = BASE + 200, .n = 200, .file = 1 });
			rand_seed(&r, i);
			for (unsigned k = 0; k < 4000; k++) {
				uint64_t page = rand_below(&r, 2) * rand_below(&r, 400) / 2 + rand_below(&r, 200);

				event(&(struct trace_event){ .op = TRACE_ACCESS, .flags = rand_below(&r, 2) ? TRACE_R : TRACE_W,
							     .vpn = BASE + page % (files ? 400 : 200), .n = 1 });
				if (files && k % 7 == 0)
					event(&(struct trace_event){ .op = TRACE_READ, .file = 1, .pgoff = rand_below(&r, 190), .n = 5 });
				if (k % 500 == 0)
					sim_check(sim);
			}
			assert_int_equal(task->end, SIM_RUNS);
			assert_true(sim->counter[VM_pswpin] > 0);
			sim_check(sim);
			sim_destroy(sim);
		}
	}
}

static void a_yardstick_needs_accessed_bits(void **state)
{
	struct sim_config_error error;
	struct sim_config c;

	(void)state;
	machine_config(&c, "lru", 10);
	c.accessed_bits = false;
	assert_null(sim_create(&c, &error));
	assert_string_equal(error.text, "vm.policy: lru needs accessed bits");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_policy_misses_when_its_naive_model_misses),
		cmocka_unit_test(beladys_string_has_the_faults_of_the_textbooks),
		cmocka_unit_test(the_dinosaur_books_string_too),
		cmocka_unit_test(random_keeps_what_chance_keeps),
		cmocka_unit_test(a_full_swap_ends_in_the_oom_killer_and_not_in_a_loop),
		cmocka_unit_test(pages_that_are_unmapped_are_not_missed),
		cmocka_unit_test(files_and_sampling_keep_the_laws),
		cmocka_unit_test(a_yardstick_needs_accessed_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * mm/step.h: whoever hears the steps and nothing else knows where each page is. The oracle is a map that is kept from
 * the steps alone; the page tables are compared with it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "sim/engine.h"

#define TASK 1
#define CHILD 2
#define PAGES 2048       /* anonymous, then as many of a file */
#define FILE_START 4096
#define START 1024
#define EVENTS 30000

enum place { NOWHERE, IN_FRAME, UNMAPPED, IN_SWAP };

struct heard {
	struct sim *s;
	struct {
		enum place place;
		uint64_t where; /* pfn, slot */
	} page[2 * PAGES];
	uint64_t n[NR_STEPS], freed;
	bool inside;            /* a pass */
};

static struct heard h;

static uint64_t index_of(vpn_t vpn)
{
	uint64_t i = vpn.n >= FILE_START ? vpn.n - FILE_START + PAGES : vpn.n - START;

	assert_true(i < 2 * PAGES);
	return i;
}

static void put(vpn_t vpn, enum place place, uint64_t where)
{
	h.page[index_of(vpn)].place = place;
	h.page[index_of(vpn)].where = where;
}

/* Of a page of a file that has left: nobody maps the frame any more. */
static void forget(pfn_t pfn)
{
	for (unsigned i = PAGES; i < 2 * PAGES; i++)
		if (h.page[i].place == IN_FRAME && h.page[i].where == pfn.n)
			h.page[i].place = NOWHERE;
}

static void hear(void *watcher, const struct mm_step *p)
{
	assert_ptr_equal(watcher, &h);
	assert_true(p->kind < NR_STEPS);
	h.n[p->kind]++;
	switch (p->kind) {
	case STEP_PASS:
		assert_false(h.inside);
		h.inside = true;
		break;
	case STEP_PASS_END:
		assert_true(h.inside);
		h.inside = false;
		h.freed += p->arg;
		break;
	case STEP_ZERO:
	case STEP_PLACE:
	case STEP_MAP_FILE:
	case STEP_SOFT:
	case STEP_REUSE: put(p->vpn, IN_FRAME, p->pfn.n); break;
	/* Placed next, or beside the page wanted: in a frame that nobody reaches. */
	case STEP_SWAP_IN: put(p->vpn, UNMAPPED, p->pfn.n); break;
	/* A page of a file has no entry then: it is in the page cache. */
	case STEP_SAMPLE:
		if (p->mm != NULL)
			put(p->vpn, UNMAPPED, p->pfn.n);
		else
			forget(p->pfn);
		break;
	case STEP_SWAP_OUT:
		if (p->mm != NULL)
			put(p->vpn, IN_SWAP, p->arg);
		break;
	case STEP_DROP: forget(p->pfn); break;
	default: break;
	}
}

static void check_page(struct pagetable *pt, vpn_t vpn)
{
	pte_t pte = pt_get(pt, vpn);
	uint64_t i = index_of(vpn);

	switch (h.page[i].place) {
	case NOWHERE: assert_true(pte_is_none(pte)); break;
	case IN_FRAME:
		assert_true(pte_is_present(pte));
		assert_int_equal(pte_pfn(pte).n, h.page[i].where);
		break;
	case UNMAPPED:
		assert_true(pte_is_soft(pte));
		assert_int_equal(pte_pfn(pte).n, h.page[i].where);
		break;
	case IN_SWAP:
		assert_true(pte_is_swap(pte));
		assert_int_equal(swp_slot(pte_swp(pte)), h.page[i].where);
		break;
	}
}

static void check(void)
{
	struct pagetable *pt = &sim_task(h.s, TASK)->mm.pt;

	for (uint64_t i = 0; i < PAGES; i++) {
		check_page(pt, (vpn_t){ START + i });
		check_page(pt, (vpn_t){ FILE_START + i });
	}
	sim_check(h.s);
}

static void event(struct trace_event e)
{
	const char *why = NULL;

	assert_int_equal(sim_event(h.s, &e, &why), 0);
}

static void touch(uint32_t task, uint64_t vpn, unsigned how)
{
	event((struct trace_event){ .op = TRACE_ACCESS, .task = task, .vpn = vpn, .n = 1, .flags = (uint8_t)how });
}

/* 4 MiB, of which the program has 16. */
static struct sim *machine(bool accessed_bits)
{
	const char *const sets[] = { "memory.zones=[{name: Normal, size: 4M}]", "cpu.count=1",
				     accessed_bits ? "vm.accessed_bits=yes" : "vm.accessed_bits=no",
				     "swap=[{kind: disk, size: 32M, read: 80us, write: 20us}]" };
	struct sim_config_error error;
	struct sim_config c;

	sim_config_default(&c);
	for (unsigned i = 0; i < ARRAY_SIZE(sets); i++)
		assert_int_equal(sim_config_set(&c, sets[i], &error), 0);
	return sim_create(&c, &error);
}

static void begin_on(bool watched, bool accessed_bits)
{
	memset(&h, 0, sizeof(h));
	h.s = machine(accessed_bits);
	assert_non_null(h.s);
	assert_null(h.s->m.watch);
	if (watched) {
		h.s->m.watcher = &h;
		h.s->m.watch = hear;
	}
	event((struct trace_event){ .op = TRACE_TASK, .task = TASK, .text = "t" });
	event((struct trace_event){ .op = TRACE_FILE, .file = 1, .n = PAGES, .text = "f" });
	event((struct trace_event){
		.op = TRACE_MMAP, .task = TASK, .vpn = START, .n = PAGES, .flags = TRACE_R | TRACE_W });
	event((struct trace_event){ .op = TRACE_MMAP, .task = TASK, .vpn = FILE_START, .n = PAGES, .file = 1,
				    .flags = TRACE_R | TRACE_W });
}

static void begin(bool watched)
{
	begin_on(watched, true);
}

/* Hot pages in front, so that some are used again. */
static uint64_t any_page(struct rand *r)
{
	uint64_t n = rand_below(r, 4) == 0 ? PAGES : 200;

	return (rand_below(r, 3) == 0 ? FILE_START : START) + rand_below(r, n);
}

static void unmap_some(struct rand *r)
{
	uint64_t at = START + rand_below(r, PAGES - 16);

	event((struct trace_event){ .op = TRACE_DROP, .task = TASK, .vpn = at, .n = 16 });
	for (unsigned i = 0; i < 16; i++)
		put((vpn_t){ at + i }, NOWHERE, 0);
}

static void play(uint64_t seed, bool compare)
{
	struct rand r;

	rand_seed(&r, seed);
	for (unsigned i = 0; i < EVENTS; i++) {
		touch(TASK, any_page(&r), rand_below(&r, 2) ? TRACE_W : TRACE_R);
		if (rand_below(&r, 500) == 0)
			unmap_some(&r);
		if (compare && i % 500 == 0)
			check();
	}
}

static void steps_tell_where_each_page_is(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		begin(true);
		play(seed, true);
		check();
		/* It was a life with everything in it. */
		for (unsigned kind = STEP_FAULT; kind < STEP_PASS_END; kind++)
			if (kind != STEP_SOFT && kind != STEP_SAMPLE && kind != STEP_DIRTY && kind != STEP_REUSE)
				assert_true(h.n[kind] > 0);
		sim_destroy(h.s);
	}
}

static void steps_tell_it_where_a_touch_is_known_by_a_fault_only(void **state)
{
	(void)state;
	begin_on(true, false);
	play(1, true);
	check();
	assert_true(h.n[STEP_SAMPLE] > 0 && h.n[STEP_SOFT] > 0 && h.n[STEP_SWAP_OUT] > 0 && h.n[STEP_SWAP_IN] > 0);
	sim_destroy(h.s);
}

static void steps_are_as_many_as_the_counters_say(void **state)
{
	const uint64_t *c;

	(void)state;
	begin(true);
	play(7, false);
	c = h.s->counter;
	assert_int_equal(h.n[STEP_SWAP_OUT], c[VM_pswpout]);
	assert_int_equal(h.n[STEP_SWAP_IN], c[VM_pswpin]);
	assert_int_equal(h.n[STEP_COPY], c[VM_pgcow]);
	assert_int_equal(h.n[STEP_ACTIVATE], c[VM_pgactivate]);
	assert_int_equal(h.n[STEP_DEACTIVATE], c[VM_pgdeactivate]);
	assert_int_equal(h.n[STEP_PASS], h.n[STEP_PASS_END]);
	assert_int_equal(h.freed, c[VM_pgsteal_kswapd] + c[VM_pgsteal_direct]);
	assert_int_equal(h.n[STEP_SWAP_OUT] + h.n[STEP_DROP], h.freed);
	sim_destroy(h.s);
}

static void of_what_fork_shares_the_last_writer_copies_nothing(void **state)
{
	(void)state;
	begin(true);
	for (unsigned i = 0; i < 100; i++)
		touch(TASK, START + i, TRACE_W);
	event((struct trace_event){ .op = TRACE_FORK, .task = TASK, .arg = CHILD });
	for (unsigned i = 0; i < 100; i++)
		touch(i % 2 ? TASK : CHILD, START + i, TRACE_W);
	assert_int_equal(h.n[STEP_COPY], 100);
	assert_int_equal(h.n[STEP_REUSE], 0);
	for (unsigned i = 0; i < 100; i++)
		touch(i % 2 ? CHILD : TASK, START + i, TRACE_W);
	assert_int_equal(h.n[STEP_COPY], 100);
	assert_int_equal(h.n[STEP_REUSE], 100);
	assert_int_equal(h.s->counter[VM_pgreuse], 100);
	sim_destroy(h.s);
}

static void who_watches_changes_nothing(void **state)
{
	uint64_t counter[VM_COUNTER_NR];
	double now;

	(void)state;
	begin(false);
	play(5, false);
	memcpy(counter, h.s->counter, sizeof(counter));
	now = sim_now(h.s);
	sim_destroy(h.s);
	begin(true);
	play(5, false);
	assert_memory_equal(counter, h.s->counter, sizeof(counter));
	assert_true(now == sim_now(h.s));
	sim_destroy(h.s);
}

/* A fault that finds no frame is told as begun, and again when it is made once more. */
static void a_fault_that_must_wait_for_a_frame_begins_again(void **state)
{
	(void)state;
	begin(true);
	touch(TASK, START, TRACE_W);
	assert_int_equal(h.n[STEP_FAULT], 1);
	h.s->m.phys.fail_nth = 1;
	touch(TASK, START + 1, TRACE_W);
	assert_int_equal(h.n[STEP_FAULT], 3);
	assert_int_equal(h.n[STEP_PLACE], 2);
	assert_true(h.n[STEP_PASS] > 0);
	check();
	sim_destroy(h.s);
}

static struct mm *victim;

static void hear_of_the_victim(void *watcher, const struct mm_step *p)
{
	(void)watcher;
	if (p->kind != STEP_OOM)
		return;
	victim = p->mm;
	assert_int_equal(sim_task(h.s, TASK)->end, SIM_RUNS);
	assert_true(p->mm->rss > 0);
	assert_int_equal(p->arg, 1);
}

static void the_victim_of_the_oom_killer_is_told_while_it_is_alive(void **state)
{
	(void)state;
	begin(true);
	h.s->m.watch = hear_of_the_victim;
	/* More than memory and swap have. */
	event((struct trace_event){
		.op = TRACE_MMAP, .task = TASK, .vpn = 1 << 20, .n = 1 << 16, .flags = TRACE_R | TRACE_W });
	for (unsigned i = 0; i < 1 << 16; i++)
		touch(TASK, (1 << 20) + i, TRACE_W);
	assert_ptr_equal(victim, &sim_task(h.s, TASK)->mm);
	assert_int_equal(sim_task(h.s, TASK)->end, SIM_KILLED_OOM);
	sim_destroy(h.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_tell_where_each_page_is),
		cmocka_unit_test(steps_tell_it_where_a_touch_is_known_by_a_fault_only),
		cmocka_unit_test(steps_are_as_many_as_the_counters_say),
		cmocka_unit_test(of_what_fork_shares_the_last_writer_copies_nothing),
		cmocka_unit_test(who_watches_changes_nothing),
		cmocka_unit_test(a_fault_that_must_wait_for_a_frame_begins_again),
		cmocka_unit_test(the_victim_of_the_oom_killer_is_told_while_it_is_alive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* sim/mmu.c against a naive model (mmumodel.h), and examples worked by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "sim/mmu.h"

#include "../memory.h"
#include "mmumodel.h"
#include "failalloc.h"

/*
 * Both side by side
 */

static struct world {
	struct memory mem;
	struct sim_config config;
	struct pagetable pt[SPACES];
	struct mmu *mmu;
	struct model model;
	struct rand rand;
} w;

static uint64_t below(uint64_t n)
{
	return rand_below(&w.rand, n);
}

/* TLBs and page-walk caches of any shape that sim_config_check lets pass. */
static void random_config(void)
{
	struct sim_config *c = &w.config;

	*c = (struct sim_config){ .levels = LEVELS, .walk_step_ns = 1.5, .seed = rand_u64(&w.rand), .asid = below(2) };
	memcpy(c->bits, geometry, sizeof(geometry));
	c->nr_tlbs = (uint32_t)below(6);
	for (unsigned i = 0; i < c->nr_tlbs; i++) {
		struct sim_tlb_config *t = &c->tlb[i];

		t->level = (uint8_t)(1 + below(2));
		t->holds = (uint8_t)(1 + below(3)) | (uint8_t)((1 + below(3)) << 2);
		t->replacement = (uint8_t)below(SIM_NR_REPLACEMENT);
		t->ways = 1 + (uint32_t)below(t->level == 1 ? 6 : 12);
		t->entries = t->ways << below(3);
		t->hit_ns = (double)below(8) / 4;
		if (below(3) == 0) {
			t->entries = 1 + (uint32_t)below(WAYS_MAX);
			t->ways = below(2) ? 0 : t->entries;
		}
	}
	c->nr_pwcs = (uint32_t)below(SIM_PWCS_MAX);
	for (unsigned i = 0; i < c->nr_pwcs; i++)
		c->pwc[i] = (struct sim_pwc_config){ .level = (uint8_t)(i + 1), .ways = 1 + (uint32_t)below(3) };
	for (unsigned i = 0; i < c->nr_pwcs; i++)
		c->pwc[i].entries = c->pwc[i].ways << below(3);
}

/* Takes w.config. */
static void world_make(void)
{
	const struct sim_config *c = &w.config;

	memory_make(&w.mem, 2048);
	for (unsigned i = 0; i < SPACES; i++)
		assert_int_equal(pt_init(&w.pt[i], &w.mem.phys, LEVELS, geometry), 0);
	w.mmu = mmu_create(c, 1);
	assert_non_null(w.mmu);
	mmu_switch(w.mmu, &w.pt[0], asids[0]);
	memset(&w.model, 0, sizeof(w.model));
	w.model.config = c;
	for (unsigned i = 0; i < c->nr_tlbs; i++)
		cache_make(&w.model.tlb[i], c->tlb[i].entries, c->tlb[i].ways, c->tlb[i].replacement,
			   c->seed + SIM_TLBS_MAX + i);
	for (unsigned i = 0; i < c->nr_pwcs; i++)
		cache_make(&w.model.pwc[i], c->pwc[i].entries, c->pwc[i].ways, SIM_LRU, 0);
}

static void world_end(void)
{
	mmu_destroy(w.mmu);
	for (unsigned i = 0; i < SPACES; i++)
		pt_destroy(&w.pt[i]);
	memory_end(&w.mem);
}

static void compare_entries(unsigned space)
{
	struct space *s = &w.model.space[space];

	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t huge = s->huge[i / PART], want = huge != 0 ? huge + ((i % PART) << PTE_PFN_SHIFT) : s->pte[i];
		pte_t *steps[PT_LEVELS_MAX];
		unsigned n = pt_walk(&w.pt[space], (vpn_t){ i }, steps);

		assert_int_equal(pt_get(&w.pt[space], (vpn_t){ i }).v, want);
		for (unsigned k = 0; k + 1 < n; k++) {
			unsigned level = LEVELS - 1 - k;

			assert_int_equal((steps[k]->v & PTE_ACCESSED) != 0, s->accessed[level][i >> shifts[level]]);
		}
	}
}

static void compare_all(void)
{
	mmu_check(w.mmu);
	for (unsigned space = 0; space < SPACES; space++) {
		compare_entries(space);
		for (uint64_t i = 0; i < PAGES; i++) {
			unsigned tlb = SIM_TLBS_MAX, k = 0;
			bool holds = mmu_holds(w.mmu, asids[space], (vpn_t){ i }, &tlb);

			while (k < SIM_TLBS_MAX && cache_find(&w.model.tlb[k], false, i, asids[space]) == NULL &&
			       cache_find(&w.model.tlb[k], true, i / PART, asids[space]) == NULL)
				k++;
			assert_int_equal(holds, k < SIM_TLBS_MAX);
			assert_int_equal(tlb, k);
		}
	}
}

static void compare_stat(void)
{
	assert_memory_equal(mmu_stat(w.mmu), &w.model.stat, sizeof(w.model.stat));
}

/* The same touch on both sides; what came of it. */
static enum mmu_result touch(uint64_t vpn, enum mmu_access how, uint64_t n, double *ns)
{
	pfn_t pfn = { UINT32_MAX };
	uint32_t want_pfn = UINT32_MAX;
	double spent = 0, want_spent = 0;
	enum mmu_result result = mmu_touch(w.mmu, (vpn_t){ vpn }, how, n, &pfn, &spent), want;

	want = model_touch(&w.model, vpn, how, &want_pfn, &want_spent);
	for (uint64_t i = 1; i < n && want <= MMU_WALKED; i++)
		model_touch(&w.model, vpn, how, &want_pfn, &want_spent);
	assert_int_equal(result, want);
	assert_int_equal(pfn.n, want_pfn);
	assert_true(spent == want_spent);
	compare_stat();
	if (ns != NULL)
		*ns = spent;
	return result;
}

static void invalidate(unsigned space, uint64_t vpn, uint64_t n)
{
	mmu_invalidate(w.mmu, asids[space], (vpn_t){ vpn }, n);
	model_invalidate(&w.model, space, vpn, n);
}

static void switch_to(unsigned space)
{
	mmu_switch(w.mmu, &w.pt[space], asids[space]);
	if (!w.config.asid && space != w.model.current)
		model_flush(&w.model, UINT32_MAX);
	w.model.current = space;
}

/* Tables that did not point anywhere before a change come with A set. */
static void note_new_tables(struct space *s, uint64_t vpn, const bool *before)
{
	for (unsigned level = 1; level < LEVELS; level++)
		if (!before[level] && is_table(s, level, vpn >> shifts[level]))
			s->accessed[level][vpn >> shifts[level]] = true;
}

static void tables_now(const struct space *s, uint64_t vpn, bool *there)
{
	for (unsigned level = 1; level < LEVELS; level++)
		there[level] = is_table(s, level, vpn >> shifts[level]);
}

static void set(unsigned space, uint64_t vpn, uint64_t e)
{
	struct space *s = &w.model.space[space];
	uint64_t huge = s->huge[vpn / PART];
	bool before[LEVELS];

	assert_int_equal(pt_set(&w.pt[space], (vpn_t){ vpn }, (pte_t){ e }), 0);
	tables_now(s, vpn, before);
	for (unsigned i = 0; i < PART && huge != 0; i++)
		s->pte[ALIGN_DOWN(vpn, PART) + i] = (huge & ~PTE_HUGE) + ((uint64_t)i << PTE_PFN_SHIFT);
	s->huge[vpn / PART] = 0;
	s->pte[vpn] = e;
	note_new_tables(s, vpn, before);
}

static void set_huge(unsigned space, uint64_t vpn, uint64_t e)
{
	struct space *s = &w.model.space[space];
	bool before[LEVELS];

	vpn = ALIGN_DOWN(vpn, PART);
	for (unsigned i = 0; i < PART && s->huge[vpn / PART] == 0; i++)
		set(space, vpn + i, 0);
	tables_now(s, vpn, before);
	assert_int_equal(pt_set_huge(&w.pt[space], (vpn_t){ vpn }, (pte_t){ e }), 0);
	s->huge[vpn / PART] = e != 0 ? e | PTE_HUGE : 0;
	note_new_tables(s, vpn, before);
}

static uint64_t some_entry(void)
{
	uint64_t flags = PTE_PRESENT | PTE_USER;

	flags |= below(3) != 0 ? PTE_WRITE : 0;
	flags |= below(2) != 0 ? PTE_NX : 0;
	flags |= below(8) == 0 ? PTE_ACCESSED | PTE_DIRTY : 0;
	flags &= ~(below(16) == 0 ? PTE_USER : 0);
	return pte_make((pfn_t){ (uint32_t)below(1 << 28) * PART }, flags).v;
}

static uint64_t some_page(void)
{
	/* Most go to a few pages. */
	return below(4) == 0 ? below(PAGES) : below(4) * 61 + below(3);
}

static void change_entry(unsigned space, uint64_t vpn)
{
	struct space *s = &w.model.space[space];
	uint64_t huge = s->huge[vpn / PART], old = huge != 0 ? huge : s->pte[vpn];

	switch (below(6)) {
	case 0:
		set_huge(space, vpn, some_entry());
		invalidate(space, ALIGN_DOWN(vpn, PART), PART);
		break;
	case 1:
		set(space, vpn, below(2) != 0 ? 0 : pte_swap_make(swp_make(1, 7)).v);
		invalidate(space, huge != 0 ? ALIGN_DOWN(vpn, PART) : vpn, huge != 0 ? PART : 1);
		break;
	case 2: /* More is allowed than before: nobody needs to be told. */
		if ((old & PTE_PRESENT) == 0)
			break;
		if (huge != 0)
			set_huge(space, vpn, old | PTE_WRITE);
		else
			set(space, vpn, (old | PTE_WRITE) & ~PTE_NX);
		break;
	default: /* Present from now on; nobody needs to be told if it was not. */
		set(space, vpn, some_entry());
		if ((old & PTE_PRESENT) != 0)
			invalidate(space, huge != 0 ? ALIGN_DOWN(vpn, PART) : vpn, huge != 0 ? PART : 1);
		break;
	}
}

/* What reclaim does: marks are cleared, and the TLBs told, in part of the cases, about a range. */
static void clear_marks(unsigned space, uint64_t vpn)
{
	struct space *s = &w.model.space[space];
	pte_t *steps[PT_LEVELS_MAX];
	unsigned n = pt_walk(&w.pt[space], (vpn_t){ vpn }, steps), i, level;

	if (n == 0)
		return;
	i = (unsigned)below(n);
	level = LEVELS - 1 - i;
	if (i + 1 < n) {
		steps[i]->v &= ~PTE_ACCESSED;
		s->accessed[level][vpn >> shifts[level]] = false;
	} else if (pte_is_present(*steps[i])) {
		steps[i]->v &= ~(PTE_ACCESSED | PTE_DIRTY);
		*(level == 0 ? &s->pte[vpn] : &s->huge[vpn / PART]) &= ~(PTE_ACCESSED | PTE_DIRTY);
	}
	if (below(2) != 0)
		invalidate(space, vpn, MIN(PAGES - vpn, 1 + below(40)));
}

static void step(void)
{
	unsigned space = (unsigned)below(SPACES), dice = (unsigned)below(200);

	if (dice < 180)
		touch(some_page(), below(MMU_NR_ACCESSES), below(4) != 0 ? 1 : 1 + below(5), NULL);
	else if (dice < 190)
		change_entry(space, some_page());
	else if (dice < 195)
		clear_marks(space, some_page());
	else if (dice < 198)
		switch_to(space);
	else if (dice < 199)
		invalidate(space, some_page(), below(3));
	else {
		mmu_flush(w.mmu);
		model_flush(&w.model, UINT32_MAX);
	}
	compare_stat();
}

static void agrees_with_the_naive_model_on_machines_of_any_shape(void **state)
{
	struct mmu_stat sum = { 0 };

	(void)state;
	rand_seed(&w.rand, 1);
	for (unsigned round = 0; round < 150; round++) {
		random_config();
		world_make();
		for (unsigned i = 0; i < SPACES * PAGES; i++)
			set(i / PAGES, i % PAGES, below(8) != 0 ? some_entry() : 0);
		for (unsigned i = 0; i < 2000; i++) {
			step();
			if (i % 128 == 0)
				compare_all();
		}
		compare_all();
		sum.walks += w.model.stat.walks;
		sum.faults += w.model.stat.faults;
		sum.touches += w.model.stat.touches;
		world_end();
	}
	/* The streams are neither all hits nor all faults. */
	assert_in_range(sum.walks - sum.faults, sum.touches / 20, sum.touches - sum.touches / 5);
}

/*
 * By hand
 */

enum { RW = PTE_PRESENT | PTE_USER | PTE_WRITE };

static const struct sim_config plain = {
	.levels = LEVELS, .bits = { 3, 2, 2, 2 }, .asid = true, .walk_step_ns = 10, .nr_tlbs = 2,
	.tlb = {
		{ "L1", 1, SIM_TLB_DATA | SIM_TLB_4K | SIM_TLB_2M, SIM_LRU, 2, 2, 1 },
		{ "L2", 2, SIM_TLB_DATA | SIM_TLB_CODE | SIM_TLB_4K | SIM_TLB_2M, SIM_LRU, 8, 4, 4 },
	},
};

static void plain_make(void)
{
	w.config = plain;
	world_make();
	for (uint64_t i = 0; i < 64; i++)
		set(0, i, pte_make((pfn_t){ 1000 + (uint32_t)i }, RW).v);
}

static void a_walk_costs_each_level_and_a_hit_only_those_before(void **state)
{
	double ns;

	(void)state;
	plain_make();
	assert_int_equal(touch(0, MMU_READ, 1, &ns), MMU_WALKED);
	assert_true(ns == 1 + 4 + 4 * 10);
	assert_int_equal(touch(0, MMU_READ, 10, &ns), MMU_HIT);
	assert_true(ns == 10);
	/* Two others push it out of level 1. */
	touch(1, MMU_READ, 1, NULL);
	touch(2, MMU_READ, 1, NULL);
	assert_int_equal(touch(0, MMU_READ, 3, &ns), MMU_HIT);
	assert_true(ns == (1 + 4) + 2 * 1);
	assert_int_equal(mmu_stat(w.mmu)->hits[1], 1);
	assert_int_equal(mmu_stat(w.mmu)->hits[0], 12);
	world_end();
}

static void page_walk_caches_shorten_walks(void **state)
{
	double ns;

	(void)state;
	w.config = plain;
	w.config.nr_pwcs = 2;
	w.config.pwc[0] = (struct sim_pwc_config){ .level = 1, .entries = 1 };
	w.config.pwc[1] = (struct sim_pwc_config){ .level = 3, .entries = 1 };
	world_make();
	set(0, 0, pte_make((pfn_t){ 1 }, RW).v);
	set(0, 1, pte_make((pfn_t){ 2 }, RW).v);
	set(0, 100, pte_make((pfn_t){ 3 }, RW).v);
	touch(0, MMU_READ, 1, &ns);
	assert_true(ns == 5 + 40);
	touch(1, MMU_READ, 1, &ns);
	assert_true(ns == 5 + 10);
	/* Another leaf, below the same entry of the root: three entries from there. */
	touch(100, MMU_READ, 1, &ns);
	assert_true(ns == 5 + 30);
	assert_int_equal(mmu_stat(w.mmu)->pwc_hits[0], 1);
	assert_int_equal(mmu_stat(w.mmu)->pwc_hits[1], 1);
	world_end();
}

static void the_first_write_walks_again_to_mark_the_page_dirty(void **state)
{
	(void)state;
	plain_make();
	touch(5, MMU_READ, 1, NULL);
	assert_int_equal(pt_get(&w.pt[0], (vpn_t){ 5 }).v & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED);
	assert_int_equal(touch(5, MMU_WRITE, 1, NULL), MMU_WALKED);
	assert_int_equal(pt_get(&w.pt[0], (vpn_t){ 5 }).v & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED | PTE_DIRTY);
	assert_int_equal(touch(5, MMU_WRITE, 1, NULL), MMU_HIT);
	assert_int_equal(touch(5, MMU_READ, 1, NULL), MMU_HIT);
	assert_int_equal(mmu_stat(w.mmu)->walks, 2);
	world_end();
}

static void faults_cache_nothing_and_count_no_touch(void **state)
{
	(void)state;
	plain_make();
	set(0, 3, pte_make((pfn_t){ 1 }, PTE_PRESENT | PTE_USER | PTE_NX).v);
	set(0, 4, pte_make((pfn_t){ 1 }, PTE_PRESENT | PTE_WRITE).v);
	assert_int_equal(touch(500, MMU_READ, 1, NULL), MMU_NOT_PRESENT);
	assert_int_equal(touch(3, MMU_WRITE, 7, NULL), MMU_PROTECTED);
	assert_int_equal(touch(3, MMU_EXEC, 1, NULL), MMU_PROTECTED);
	assert_int_equal(touch(4, MMU_READ, 1, NULL), MMU_PROTECTED);
	assert_false(mmu_holds(w.mmu, asids[0], (vpn_t){ 3 }, NULL));
	assert_int_equal(pt_get(&w.pt[0], (vpn_t){ 3 }).v & PTE_ACCESSED, 0);
	assert_int_equal(mmu_stat(w.mmu)->touches, 0);
	assert_int_equal(mmu_stat(w.mmu)->faults, 4);
	/* What may be read is; writing drops it, and faults. */
	touch(3, MMU_READ, 1, NULL);
	assert_true(mmu_holds(w.mmu, asids[0], (vpn_t){ 3 }, NULL));
	assert_int_equal(touch(3, MMU_WRITE, 1, NULL), MMU_PROTECTED);
	assert_false(mmu_holds(w.mmu, asids[0], (vpn_t){ 3 }, NULL));
	world_end();
}

/* Four ways: 0 1 2 3 0. LRU lets 1 go; the tree points away from 0, to the right half, and there away from 3, to 2. */
static void lru_and_plru_choose_what_the_books_say(void **state)
{
	static const struct {
		uint8_t replacement;
		uint64_t victim;
	} cases[] = { { SIM_LRU, 1 }, { SIM_PLRU, 2 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		w.config = plain;
		w.config.nr_tlbs = 1;
		w.config.tlb[0].entries = w.config.tlb[0].ways = 4;
		w.config.tlb[0].replacement = cases[i].replacement;
		world_make();
		for (uint64_t v = 0; v < 5; v++)
			set(0, v, pte_make((pfn_t){ 1 }, RW).v);
		for (uint64_t v = 0; v < 6; v++)
			touch(v < 4 ? v : v == 4 ? 0 : 4, MMU_READ, 1, NULL);
		for (uint64_t v = 0; v < 5; v++)
			assert_int_equal(mmu_holds(w.mmu, asids[0], (vpn_t){ v }, NULL), v != cases[i].victim);
		world_end();
	}
}

static void a_huge_page_takes_one_entry_for_all_its_pages(void **state)
{
	(void)state;
	plain_make();
	set_huge(0, 80, pte_make((pfn_t){ 0x100 }, RW).v);
	assert_int_equal(touch(81, MMU_READ, 1, NULL), MMU_WALKED);
	assert_int_equal(touch(87, MMU_READ, 1, NULL), MMU_HIT);
	assert_int_equal(mmu_stat(w.mmu)->walk_loads, 3);
	/* Split, and told about one page: all of it is forgotten. */
	set(0, 82, 0);
	invalidate(0, 82, 1);
	assert_false(mmu_holds(w.mmu, asids[0], (vpn_t){ 87 }, NULL));
	assert_int_equal(touch(82, MMU_READ, 1, NULL), MMU_NOT_PRESENT);
	assert_int_equal(touch(87, MMU_READ, 1, NULL), MMU_WALKED);
	world_end();
}

static void without_asids_a_switch_forgets_all(void **state)
{
	(void)state;
	for (unsigned asid = 0; asid < 2; asid++) {
		w.config = plain;
		w.config.asid = asid != 0;
		world_make();
		set(0, 9, pte_make((pfn_t){ 1 }, RW).v);
		set(1, 9, pte_make((pfn_t){ 2 }, RW).v);
		touch(9, MMU_READ, 1, NULL);
		switch_to(0);
		assert_int_equal(touch(9, MMU_READ, 1, NULL), MMU_HIT);
		switch_to(1);
		assert_int_equal(touch(9, MMU_READ, 1, NULL), MMU_WALKED);
		switch_to(0);
		assert_int_equal(touch(9, MMU_READ, 1, NULL), asid ? MMU_HIT : MMU_WALKED);
		assert_int_equal(mmu_stat(w.mmu)->flushes, asid ? 0 : 2);
		world_end();
	}
}

static void more_than_33_pages_flush_the_address_space(void **state)
{
	(void)state;
	plain_make();
	set(1, 60, pte_make((pfn_t){ 1 }, RW).v);
	switch_to(1);
	touch(60, MMU_READ, 1, NULL);
	switch_to(0);
	touch(60, MMU_READ, 1, NULL);
	invalidate(0, 0, 33);
	assert_true(mmu_holds(w.mmu, asids[0], (vpn_t){ 60 }, NULL));
	assert_int_equal(mmu_stat(w.mmu)->invalidations, 33);
	invalidate(0, 0, 34);
	assert_false(mmu_holds(w.mmu, asids[0], (vpn_t){ 60 }, NULL));
	assert_true(mmu_holds(w.mmu, asids[1], (vpn_t){ 60 }, NULL));
	assert_int_equal(mmu_stat(w.mmu)->flushes, 1);
	mmu_flush(w.mmu);
	assert_false(mmu_holds(w.mmu, asids[1], (vpn_t){ 60 }, NULL));
	world_end();
}

/* The front's tag is ten bits wide: after a thousand switches it begins again, in another address space. */
static void what_the_front_knew_does_not_come_back_with_its_tag(void **state)
{
	(void)state;
	plain_make();
	for (unsigned space = 0; space < SPACES; space++) {
		set(space, 0, pte_make((pfn_t){ 1 + space }, RW).v);
		set(space, 9, pte_make((pfn_t){ 11 + space }, RW).v);
	}
	for (unsigned n = 1022; n < 1026; n++) {
		switch_to(0);
		touch(9, MMU_READ, 1, NULL);
		for (unsigned i = 1; i < n; i++)
			switch_to(i % 2);
		switch_to(2);
		touch(9, MMU_READ, 1, NULL);
	}
	/* Nor does an entry that was never used look like one of any tag. */
	for (unsigned i = 0; i < 1100; i++) {
		switch_to(i % 2);
		touch(9, MMU_WRITE, 1, NULL);
	}
	touch(0, MMU_READ, 1, NULL);
	world_end();
}

static void without_memory_there_is_no_mmu(void **state)
{
	struct mmu *m = NULL;
	unsigned n = 0;

	(void)state;
	w.config = plain;
	w.config.nr_pwcs = 1;
	w.config.pwc[0] = (struct sim_pwc_config){ .level = 1, .entries = 4 };
	while (m == NULL) {
		fail_nth = ++n;
		m = mmu_create(&w.config, 0);
		fail_nth = 0;
	}
	/* The MMU, and four arrays for each of two TLBs and one page-walk cache. */
	assert_int_equal(n, 1 + 12 + 1);
	mmu_destroy(m);
	mmu_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_naive_model_on_machines_of_any_shape),
		cmocka_unit_test(a_walk_costs_each_level_and_a_hit_only_those_before),
		cmocka_unit_test(page_walk_caches_shorten_walks),
		cmocka_unit_test(the_first_write_walks_again_to_mark_the_page_dirty),
		cmocka_unit_test(faults_cache_nothing_and_count_no_touch),
		cmocka_unit_test(lru_and_plru_choose_what_the_books_say),
		cmocka_unit_test(a_huge_page_takes_one_entry_for_all_its_pages),
		cmocka_unit_test(without_asids_a_switch_forgets_all),
		cmocka_unit_test(more_than_33_pages_flush_the_address_space),
		cmocka_unit_test(what_the_front_knew_does_not_come_back_with_its_tag),
		cmocka_unit_test(without_memory_there_is_no_mmu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

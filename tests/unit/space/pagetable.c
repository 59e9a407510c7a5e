/* mm/space/pagetable.c against a sorted array of (vpn, entry); huge pages and walks against a flat map of a window. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/space/pagetable.h"

#include "../memory.h"

#define ORACLE_MAX 4096

struct oracle {
	unsigned n;
	struct {
		uint64_t vpn, value;
	} e[ORACLE_MAX];
};

static unsigned oracle_lower(const struct oracle *o, uint64_t vpn)
{
	unsigned i = 0;

	while (i < o->n && o->e[i].vpn < vpn)
		i++;
	return i;
}

static uint64_t oracle_get(const struct oracle *o, uint64_t vpn)
{
	unsigned i = oracle_lower(o, vpn);

	return i < o->n && o->e[i].vpn == vpn ? o->e[i].value : 0;
}

static void oracle_set(struct oracle *o, uint64_t vpn, uint64_t value)
{
	unsigned i = oracle_lower(o, vpn);
	bool there = i < o->n && o->e[i].vpn == vpn;

	if (value == 0 && there) {
		memmove(&o->e[i], &o->e[i + 1], (--o->n - i) * sizeof(o->e[0]));
	} else if (value != 0) {
		if (!there) {
			assert_true(o->n < ORACLE_MAX);
			memmove(&o->e[i + 1], &o->e[i], (o->n++ - i) * sizeof(o->e[0]));
		}
		o->e[i].vpn = vpn;
		o->e[i].value = value;
	}
}

struct geometry {
	const char *name;
	unsigned levels;
	uint8_t bits[PT_LEVELS_MAX];
	unsigned check_every; /* steps: pt_check reads every slot of every node */
};

static const struct geometry geometries[] = {
	{ "x86-64", 4, { 9, 9, 9, 9 }, 6 },
	{ "five levels", 5, { 9, 9, 9, 9, 9 }, 6 },
	{ "three levels, PAE", 3, { 9, 9, 2 }, 6 },
	{ "two levels of 10", 2, { 10, 10 }, 6 },
	{ "one level of 2^20", 1, { 20 }, 300 },
	{ "wide middle", 3, { 4, 13, 6 }, 16 },
	{ "one bit a level", 5, { 1, 1, 1, 1, 1 }, 1 },
};

static unsigned total_bits(const struct geometry *g)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < g->levels; i++)
		bits += g->bits[i];
	return bits;
}

struct world {
	struct memory mem;
	struct pagetable pt;
	struct oracle oracle;
	struct rand rand;
	unsigned bits;
	uint64_t bases[12];
};

static struct world w;

static void world_make(const struct geometry *g, uint32_t frames, uint64_t seed)
{
	memory_make(&w.mem, frames);
	assert_int_equal(pt_init(&w.pt, &w.mem.phys, g->levels, g->bits), 0);
	w.oracle.n = 0;
	w.bits = total_bits(g);
	rand_seed(&w.rand, seed);
	for (size_t i = 0; i < ARRAY_SIZE(w.bases); i++)
		w.bases[i] = rand_below(&w.rand, (uint64_t)1 << w.bits);
}

/* Half of the pages lie in a few clusters, half of the others at the ends. */
static uint64_t some_vpn(void)
{
	uint64_t size = (uint64_t)1 << w.bits, v;

	switch (rand_below(&w.rand, 8)) {
	case 0: return rand_below(&w.rand, MIN(size, 600));
	case 1: return size - 1 - rand_below(&w.rand, MIN(size, 600));
	case 2: return rand_below(&w.rand, size);
	default:
		v = w.bases[rand_below(&w.rand, ARRAY_SIZE(w.bases))] + rand_below(&w.rand, 1200);
		return v & (size - 1);
	}
}

static pte_t some_pte(void)
{
	switch (rand_below(&w.rand, 3)) {
	case 0: return pte_soft_make((pfn_t){ (uint32_t)rand_u64(&w.rand) });
	case 1: return pte_swap_make(swp_make((unsigned)rand_below(&w.rand, 23), 1 + rand_below(&w.rand, 1 << 30)));
	default: return pte_present_make((pfn_t){ (uint32_t)rand_u64(&w.rand) }, PTE_USER | PTE_WRITE | PTE_NX);
	}
}

static void compare_all(void)
{
	vpn_t from = { 0 }, end = { (uint64_t)1 << w.bits }, at;
	pte_t e;

	assert_int_equal(w.pt.nr_entries, w.oracle.n);
	for (unsigned i = 0; i < w.oracle.n; i++) {
		assert_true(pt_next(&w.pt, from, end, &at, &e));
		assert_int_equal(at.n, w.oracle.e[i].vpn);
		assert_int_equal(e.v, w.oracle.e[i].value);
		assert_int_equal(pt_get(&w.pt, at).v, e.v);
		from.n = at.n + 1;
	}
	assert_false(pt_next(&w.pt, from, end, &at, &e));
}

static void check_next(void)
{
	uint64_t a = some_vpn(), b = rand_below(&w.rand, 2) ? some_vpn() : a + rand_below(&w.rand, 700);
	unsigned i = oracle_lower(&w.oracle, a);
	bool want = i < w.oracle.n && w.oracle.e[i].vpn < b;
	vpn_t at;
	pte_t e;

	assert_int_equal(pt_next(&w.pt, (vpn_t){ a }, (vpn_t){ b }, &at, &e), want);
	if (want) {
		assert_int_equal(at.n, w.oracle.e[i].vpn);
		assert_int_equal(e.v, w.oracle.e[i].value);
	}
}

static void random_step(unsigned clear_percent)
{
	vpn_t vpn = { some_vpn() };
	unsigned dice = (unsigned)rand_below(&w.rand, 100);
	pte_t e = some_pte();

	if (dice < 15) {
		check_next();
		return;
	}
	if (dice < 25) {
		assert_int_equal(pt_get(&w.pt, vpn).v, oracle_get(&w.oracle, vpn.n));
		return;
	}
	if (rand_below(&w.rand, 100) < clear_percent) {
		/* Mostly something that is there. */
		if (w.oracle.n > 0 && rand_below(&w.rand, 8) != 0)
			vpn.n = w.oracle.e[rand_below(&w.rand, w.oracle.n)].vpn;
		e = pte_none();
	}
	assert_int_equal(pt_set(&w.pt, vpn, e), 0);
	oracle_set(&w.oracle, vpn.n, e.v);
}

static void agrees_with_a_sorted_array_in_every_geometry(void **state)
{
	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(geometries); g++) {
		world_make(&geometries[g], 4096, 1000 + g);
		for (unsigned i = 0; i < 1500; i++) {
			random_step(i < 900 ? 25 : 70);
			if (i % geometries[g].check_every == 0)
				pt_check(&w.pt);
		}
		compare_all();
		while (w.oracle.n > 0) {
			uint64_t vpn = w.oracle.e[rand_below(&w.rand, w.oracle.n)].vpn;

			assert_int_equal(pt_set(&w.pt, (vpn_t){ vpn }, pte_none()), 0);
			oracle_set(&w.oracle, vpn, 0);
		}
		pt_check(&w.pt);
		assert_int_equal(w.pt.nr_nodes, 0);
		assert_null(w.pt.root);
		memory_end(&w.mem);
	}
}

static void destroy_frees_every_node(void **state)
{
	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(geometries); g++) {
		world_make(&geometries[g], 4096, 2000 + g);
		for (unsigned i = 0; i < 500; i++)
			random_step(10);
		pt_destroy(&w.pt);
		assert_int_equal(w.pt.nr_nodes, 0);
		memory_end(&w.mem);
	}
}

static void a_node_lives_as_long_as_its_last_entry(void **state)
{
	pte_t e = pte_soft_make((pfn_t){ 7 });
	vpn_t a = { 0x7ffff7fff }, b = { 0x7ffff7ffe }, far = { 0x555555554 };

	(void)state;
	world_make(&geometries[0], 256, 1);
	assert_int_equal(pt_set(&w.pt, a, e), 0);
	assert_int_equal(pt_set(&w.pt, b, e), 0);
	assert_int_equal(w.pt.nr_nodes, 4);
	assert_int_equal(pt_set(&w.pt, far, e), 0);
	assert_int_equal(w.pt.nr_nodes, 7);
	assert_int_equal(pt_set(&w.pt, a, pte_none()), 0);
	assert_int_equal(w.pt.nr_nodes, 7);
	assert_int_equal(pt_set(&w.pt, b, pte_none()), 0);
	assert_int_equal(w.pt.nr_nodes, 4);
	assert_int_equal(pt_get(&w.pt, b).v, 0);
	assert_int_equal(pt_get(&w.pt, far).v, e.v);
	assert_int_equal(pt_set(&w.pt, far, pte_none()), 0);
	assert_int_equal(w.pt.nr_nodes, 0);
	memory_end(&w.mem);
}

static void a_flat_table_takes_blocks_of_4_mib_as_they_are_used(void **state)
{
	pte_t e = pte_soft_make((pfn_t){ 7 });

	(void)state;
	world_make(&geometries[4], 8192, 1);
	assert_int_equal(w.pt.levels, 1);
	assert_int_equal(pt_set(&w.pt, (vpn_t){ 0 }, e), 0);
	assert_int_equal(w.pt.nr_nodes, 1 + 1024);
	assert_int_equal(pt_set(&w.pt, (vpn_t){ 0xfffff }, e), 0);
	assert_int_equal(w.pt.nr_nodes, 1 + 2 * 1024);
	pt_check(&w.pt);
	pt_destroy(&w.pt);
	memory_end(&w.mem);
}

static void impossible_geometries_are_refused(void **state)
{
	static const uint8_t zero[] = { 9, 0 }, wide[] = { 39 }, sum[] = { 11, 11, 11, 11, 9 }, most[] = { 11, 11, 11, 10, 9 };
	struct memory mem;
	struct pagetable pt;

	(void)state;
	memory_make(&mem, 256);
	assert_int_equal(pt_init(&pt, &mem.phys, 0, NULL), -EINVAL);
	assert_int_equal(pt_init(&pt, &mem.phys, 6, NULL), -EINVAL);
	assert_int_equal(pt_init(&pt, &mem.phys, 2, zero), -EINVAL);
	assert_int_equal(pt_init(&pt, &mem.phys, 1, wide), -EINVAL);
	assert_int_equal(pt_init(&pt, &mem.phys, 5, sum), -EINVAL);
	assert_int_equal(pt_init(&pt, &mem.phys, 5, most), 0);
	assert_int_equal(pt_init(&pt, &mem.phys, 4, NULL), 0);
	assert_int_equal(pt.bits[3], 9);
	assert_int_equal(pt_get(&pt, (vpn_t){ UINT64_MAX }).v, 0);
	memory_end(&mem);
}

/* Lets the n-th and every later allocation of one pt_set fail, for n = 1, 2 … until it succeeds. */
static void a_failed_set_changes_nothing(void **state)
{
	unsigned failures = 0;

	(void)state;
	world_make(&geometries[0], 2048, 3);
	for (unsigned i = 0; i < 300; i++) {
		vpn_t vpn = { some_vpn() };
		pte_t e = some_pte();
		uint32_t nodes = w.pt.nr_nodes, frames = phys_free_frames(&w.mem.phys, 0);
		int err = -ENOMEM;

		for (uint64_t n = 1; err != 0; n++) {
			w.mem.phys.fail_nth = n;
			w.mem.phys.fail_forever = true;
			err = pt_set(&w.pt, vpn, e);
			memory_restore(&w.mem);
			pt_check(&w.pt);
			if (err == 0)
				break;
			failures++;
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(w.pt.nr_nodes, nodes);
			assert_int_equal(phys_free_frames(&w.mem.phys, 0), frames);
			assert_int_equal(pt_get(&w.pt, vpn).v, 0);
			/* What needs no memory works without it. */
			memory_exhaust(&w.mem);
			assert_int_equal(pt_set(&w.pt, vpn, pte_none()), 0);
			memory_restore(&w.mem);
		}
		oracle_set(&w.oracle, vpn.n, e.v);
		if (i % 16 == 0)
			compare_all();
	}
	assert_true(failures > 100);
	compare_all();
	pt_destroy(&w.pt);
	memory_end(&w.mem);
}

static void after_reserve_set_cannot_fail(void **state)
{
	(void)state;
	world_make(&geometries[0], 4096, 4);
	for (unsigned i = 0; i < 60; i++) {
		vpn_t start = { some_vpn() }, end;
		uint64_t most = ((uint64_t)1 << w.bits) - start.n;

		end.n = start.n + rand_below(&w.rand, MIN(most, 3000)) + 1;
		assert_int_equal(pt_reserve(&w.pt, start, end), 0);
		pt_check(&w.pt);
		memory_exhaust(&w.mem);
		for (unsigned j = 0; j < 20; j++) {
			vpn_t vpn = { start.n + rand_below(&w.rand, end.n - start.n) };
			pte_t e = some_pte();

			assert_int_equal(pt_set(&w.pt, vpn, e), 0);
			oracle_set(&w.oracle, vpn.n, e.v);
		}
		memory_restore(&w.mem);
	}
	compare_all();
	pt_destroy(&w.pt);
	memory_end(&w.mem);
}

static void an_unused_reservation_can_be_given_back(void **state)
{
	(void)state;
	world_make(&geometries[0], 256, 1);
	assert_int_equal(pt_reserve(&w.pt, (vpn_t){ 1000 }, (vpn_t){ 1010 }), 0);
	assert_int_equal(w.pt.nr_nodes, 4);
	assert_int_equal(pt_set(&w.pt, (vpn_t){ 1003 }, pte_none()), 0);
	assert_int_equal(w.pt.nr_nodes, 0);
	memory_end(&w.mem);
}

static void a_failed_reserve_changes_nothing(void **state)
{
	vpn_t held = { 0x10000 };

	(void)state;
	world_make(&geometries[0], 4096, 5);
	for (unsigned i = 0; i < 40; i++)
		random_step(0);
	/* An earlier reservation inside the range stays. */
	assert_int_equal(pt_reserve(&w.pt, held, (vpn_t){ held.n + 1 }), 0);

	uint32_t nodes = w.pt.nr_nodes, frames = phys_free_frames(&w.mem.phys, 0);
	unsigned failures = 0;

	for (uint64_t n = 1;; n++) {
		w.mem.phys.fail_nth = n;
		w.mem.phys.fail_forever = true;
		int err = pt_reserve(&w.pt, (vpn_t){ held.n - 5000 }, (vpn_t){ held.n + 5000 });

		memory_restore(&w.mem);
		pt_check(&w.pt);
		if (err == 0)
			break;
		failures++;
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(w.pt.nr_nodes, nodes);
		assert_int_equal(phys_free_frames(&w.mem.phys, 0), frames);
	}
	assert_true(failures >= 15);
	compare_all();
	pt_destroy(&w.pt);
	memory_end(&w.mem);
}

static void a_fault_is_answered_out_of_the_reserve(void **state)
{
	struct frame_list taken = TAILQ_HEAD_INITIALIZER(taken);
	struct frame *f;

	(void)state;
	world_make(&geometries[0], 4096, 6);
	while ((f = frame_alloc(&w.mem.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_MIN)) != NULL)
		TAILQ_INSERT_TAIL(&taken, f, link);
	assert_true(phys_free_frames(&w.mem.phys, 0) >= 4);
	assert_int_equal(pt_set(&w.pt, (vpn_t){ 1 }, pte_soft_make((pfn_t){ 1 })), 0);
	pt_destroy(&w.pt);
	while ((f = TAILQ_FIRST(&taken)) != NULL) {
		TAILQ_REMOVE(&taken, f, link);
		frame_free(&w.mem.phys, f, 0);
	}
	memory_end(&w.mem);
}

/*
 * Huge pages
 */

#define FLAT_MAX 4096
#define FLAT_PARTS 8 /* of the size of a huge page */

/* Every page of a window, and which of its parts are huge pages. */
struct flat {
	vpn_t base;
	unsigned part;     /* pages of a huge page */
	uint64_t value[FLAT_MAX];
	bool huge[FLAT_PARTS];
};

static const struct geometry huge_geometries[] = {
	{ "x86-64", 4, { 9, 9, 9, 9 }, 4 },
	{ "two levels", 2, { 6, 8 }, 1 },
	{ "level 1 in two halves", 3, { 4, 20, 3 }, 200 },
	{ "level 2 in two halves", 4, { 3, 2, 21, 2 }, 200 },
	{ "one bit a level", 5, { 1, 1, 1, 1, 1 }, 1 },
};

static struct flat flat;

/* In the middle of the table, where nodes of upper levels meet. */
static void flat_make(const struct geometry *g, uint64_t seed)
{
	world_make(g, 8192, seed);
	memset(&flat, 0, sizeof(flat));
	flat.part = 1u << g->bits[0];
	flat.base.n = ((uint64_t)1 << (w.bits - 1)) - flat.part * FLAT_PARTS / 2;
	assert_int_equal(pt_huge_pages(&w.pt), flat.part);
}

static unsigned flat_size(void)
{
	return flat.part * FLAT_PARTS;
}

static vpn_t flat_vpn(unsigned i)
{
	return (vpn_t){ flat.base.n + i };
}

static bool flat_part_is_none(unsigned part)
{
	for (unsigned i = part * flat.part; i < (part + 1) * flat.part; i++)
		if (flat.value[i] != 0)
			return false;
	return true;
}

/* What the page's entry is to become when its huge page is split. */
static void flat_split(unsigned part)
{
	for (unsigned i = part * flat.part; flat.huge[part] && i < (part + 1) * flat.part; i++)
		flat.value[i] &= ~PTE_HUGE;
	flat.huge[part] = false;
}

static void flat_set_huge(unsigned part, pte_t e)
{
	for (unsigned i = 0; i < flat.part; i++)
		flat.value[part * flat.part + i] = e.v != 0 ? (e.v | PTE_HUGE) + ((uint64_t)i << PTE_PFN_SHIFT) : 0;
	flat.huge[part] = e.v != 0;
}

/* The entry where it stands: its own, or that of its huge page. */
static void compare_place(unsigned i)
{
	const pte_t *found = pt_find(&w.pt, flat_vpn(i)), *place = pt_place(&w.pt, flat_vpn(i));
	bool huge = flat.huge[i / flat.part];

	assert_int_equal(found != NULL, flat.value[i] != 0);
	if (found != NULL)
		assert_int_equal(found->v, flat.value[huge ? i / flat.part * flat.part : i]);
	assert_true(huge ? place == NULL : found == NULL || place == found);
	assert_true(place == NULL || place->v == flat.value[i]);
}

static void flat_compare(void)
{
	vpn_t from = { 0 }, end = { (uint64_t)1 << w.bits }, at;
	uint64_t entries = 0;
	pte_t e;

	for (unsigned i = 0; i < flat_size(); i++) {
		assert_int_equal(pt_get(&w.pt, flat_vpn(i)).v, flat.value[i]);
		assert_int_equal(pt_is_huge(&w.pt, flat_vpn(i)), flat.huge[i / flat.part]);
		compare_place(i);
		if (flat.value[i] == 0)
			continue;
		entries++;
		assert_true(pt_next(&w.pt, from, end, &at, &e));
		assert_int_equal(at.n, flat_vpn(i).n);
		assert_int_equal(e.v, flat.value[i]);
		from.n = at.n + 1;
	}
	assert_false(pt_next(&w.pt, from, end, &at, &e));
	assert_int_equal(entries, w.pt.nr_entries);
}

static void step_walk(unsigned i)
{
	pte_t *steps[PT_LEVELS_MAX];
	unsigned n = pt_walk(&w.pt, flat_vpn(i), steps), part = i / flat.part, first = part * flat.part;

	for (unsigned k = 0; k + 1 < n; k++)
		assert_true(pte_is_present(*steps[k]) && (steps[k]->v & PTE_ACCESSED) != 0);
	if (flat.huge[part]) {
		/* The entry of the whole: what is marked in it, all its pages show. */
		assert_int_equal(n, w.pt.levels - 1);
		assert_int_equal(steps[n - 1]->v, flat.value[first]);
		steps[n - 1]->v |= PTE_ACCESSED;
		flat_set_huge(part, *steps[n - 1]);
	} else if (flat.value[i] != 0) {
		assert_int_equal(n, w.pt.levels);
		assert_int_equal(steps[n - 1]->v, flat.value[i]);
		if (pte_is_present(*steps[n - 1]))
			flat.value[i] = steps[n - 1]->v |= PTE_DIRTY;
	} else {
		assert_true(n == 0 || pte_is_none(*steps[n - 1]));
		assert_int_equal(n == 0, w.pt.root == NULL);
	}
}

static void step_set(unsigned i, pte_t e)
{
	bool was_none = flat.value[i] == 0, cannot_fail = was_none ? e.v == 0 : !flat.huge[i / flat.part];
	int err = pt_set(&w.pt, flat_vpn(i), e);

	if (err != 0) {
		assert_int_equal(err, -ENOMEM);
		assert_true(w.mem.phys.fail_forever && !cannot_fail);
		return;
	}
	if (e.v != 0 || !was_none)
		flat_split(i / flat.part);
	flat.value[i] = e.v & ~PTE_HUGE;
}

static void step_set_huge(unsigned part, pte_t e)
{
	int err;

	if (e.v != 0 && !flat.huge[part] && !flat_part_is_none(part))
		return;
	err = pt_set_huge(&w.pt, flat_vpn(part * flat.part), e);
	if (err != 0) {
		assert_int_equal(err, -ENOMEM);
		assert_true(w.mem.phys.fail_forever && e.v != 0 && !flat.huge[part]);
	} else if (e.v != 0 || flat.huge[part]) {
		flat_set_huge(part, e);
	}
}

static void step_reserve(unsigned i)
{
	unsigned n = 1 + (unsigned)rand_below(&w.rand, flat_size() - i);
	int err = pt_reserve(&w.pt, flat_vpn(i), flat_vpn(i + n));

	for (unsigned part = i / flat.part; part <= (i + n - 1) / flat.part; part++)
		if (err == 0 || !pt_is_huge(&w.pt, flat_vpn(part * flat.part)))
			flat_split(part);
	if (err != 0)
		return;
	memory_exhaust(&w.mem);
	for (unsigned k = 0; k < 4; k++)
		step_set(i + (unsigned)rand_below(&w.rand, n), pte_soft_make((pfn_t){ k }));
	/* Leaves that stay empty are given back, or wait for who uses them: a huge page, too. */
	for (unsigned k = i; k < i + n && n % 2 == 0; k++)
		if (flat.value[k] == 0)
			step_set(k, pte_none());
}

static void flat_step(void)
{
	unsigned i = (unsigned)rand_below(&w.rand, flat_size()), part = i / flat.part;
	pfn_t aligned = { (uint32_t)rand_below(&w.rand, 1 << 20) * flat.part };

	if (rand_below(&w.rand, 4) == 0)
		memory_exhaust(&w.mem);
	switch (rand_below(&w.rand, 16)) {
	case 0: case 1: case 2: case 3:
		step_set(i, some_pte());
		break;
	case 4:
		step_set(i, pte_none());
		break;
	case 5: /* The whole part, so that it can be huge again. */
		for (unsigned k = 0; k < flat.part; k++)
			step_set(part * flat.part + k, pte_none());
		break;
	case 6: case 7: case 8:
		step_set_huge(part, pte_present_make(aligned, PTE_USER | PTE_NX));
		break;
	case 9:
		step_set_huge(part, pte_none());
		break;
	case 10:
		step_reserve(i);
		break;
	case 11: /* An entry as it was got is set back. */
		step_set(i, pt_get(&w.pt, flat_vpn(i)));
		break;
	default:
		step_walk(i);
		break;
	}
	memory_restore(&w.mem);
}

static void huge_pages_and_walks_agree_with_a_flat_map(void **state)
{
	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(huge_geometries); g++) {
		flat_make(&huge_geometries[g], 3000 + g);
		for (unsigned i = 0; i < 3000; i++) {
			flat_step();
			if (i % huge_geometries[g].check_every == 0) {
				pt_check(&w.pt);
				flat_compare();
			}
		}
		pt_destroy(&w.pt);
		memory_end(&w.mem);
	}
}

static void a_huge_page_is_split_where_it_is_set(void **state)
{
	uint64_t flags = PTE_PRESENT | PTE_USER | PTE_DIRTY;
	pte_t huge = pte_make((pfn_t){ 0x200 }, flags);
	pte_t *steps[PT_LEVELS_MAX];
	vpn_t start = { 0x7f400 };

	(void)state;
	world_make(&geometries[0], 256, 1);
	assert_int_equal(pt_set_huge(&w.pt, start, huge), 0);
	assert_int_equal(w.pt.nr_nodes, 3);
	assert_int_equal(w.pt.level_frames[0], 0);
	assert_int_equal(w.pt.nr_entries, 512);
	assert_int_equal(pt_get(&w.pt, (vpn_t){ start.n + 5 }).v, 0x205 << 12 | flags | PTE_HUGE);
	assert_int_equal(pt_walk(&w.pt, start, steps), 3);
	/* One of its pages goes. */
	assert_int_equal(pt_set(&w.pt, (vpn_t){ start.n + 5 }, pte_none()), 0);
	assert_int_equal(w.pt.nr_nodes, 4);
	assert_int_equal(w.pt.level_frames[0], 1);
	assert_int_equal(w.pt.nr_entries, 511);
	assert_false(pt_is_huge(&w.pt, start));
	assert_int_equal(pt_get(&w.pt, (vpn_t){ start.n + 6 }).v, 0x206 << 12 | flags);
	assert_int_equal(pt_get(&w.pt, (vpn_t){ start.n + 5 }).v, 0);
	assert_int_equal(pt_walk(&w.pt, start, steps), 4);
	pt_destroy(&w.pt);
	memory_end(&w.mem);
}

static void only_geometries_of_a_leaf_below_a_level_have_huge_pages(void **state)
{
	static const uint8_t wide_leaf[] = { 20, 9 };
	struct pagetable pt;

	(void)state;
	world_make(&geometries[4], 256, 1);
	assert_int_equal(pt_huge_pages(&w.pt), 0);
	assert_int_equal(pt_init(&pt, &w.mem.phys, 2, wide_leaf), 0);
	assert_int_equal(pt_huge_pages(&pt), 0);
	assert_int_equal(pt_init(&pt, &w.mem.phys, 4, NULL), 0);
	assert_int_equal(pt_huge_pages(&pt), 512);
	assert_false(pt_is_huge(&pt, (vpn_t){ UINT64_MAX }));
	memory_end(&w.mem);
}

static void an_entry_is_of_exactly_one_kind(void **state)
{
	pte_t none = pte_none(), soft = pte_soft_make((pfn_t){ UINT32_MAX });
	pte_t present = pte_present_make((pfn_t){ 0 }, PTE_NX | PTE_DIRTY);
	pte_t swap = pte_swap_make(swp_make(22, ((uint64_t)1 << SWP_OFFSET_BITS) - 1));

	(void)state;
	assert_true(pte_is_none(none) && !pte_is_present(none) && !pte_is_soft(none) && !pte_is_swap(none));
	assert_true(pte_is_soft(soft) && !pte_is_present(soft) && !pte_is_swap(soft) && !pte_is_none(soft));
	assert_true(pte_is_present(present) && !pte_is_soft(present) && !pte_is_swap(present));
	assert_true(pte_is_swap(swap) && !pte_is_present(swap) && !pte_is_soft(swap));
	assert_int_equal(pte_pfn(soft).n, UINT32_MAX);
	assert_int_equal(pte_pfn(present).n, 0);
	assert_int_equal(swp_area(pte_swp(swap)), 22);
	assert_int_equal(swp_slot(pte_swp(swap)), ((uint64_t)1 << SWP_OFFSET_BITS) - 1);
	assert_true(pte_is_swap(pte_swap_make(swp_make(0, 1))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_sorted_array_in_every_geometry),
		cmocka_unit_test(destroy_frees_every_node),
		cmocka_unit_test(a_node_lives_as_long_as_its_last_entry),
		cmocka_unit_test(a_flat_table_takes_blocks_of_4_mib_as_they_are_used),
		cmocka_unit_test(impossible_geometries_are_refused),
		cmocka_unit_test(a_failed_set_changes_nothing),
		cmocka_unit_test(after_reserve_set_cannot_fail),
		cmocka_unit_test(an_unused_reservation_can_be_given_back),
		cmocka_unit_test(a_failed_reserve_changes_nothing),
		cmocka_unit_test(a_fault_is_answered_out_of_the_reserve),
		cmocka_unit_test(huge_pages_and_walks_agree_with_a_flat_map),
		cmocka_unit_test(a_huge_page_is_split_where_it_is_set),
		cmocka_unit_test(only_geometries_of_a_leaf_below_a_level_have_huge_pages),
		cmocka_unit_test(an_entry_is_of_exactly_one_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

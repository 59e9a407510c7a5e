/* mm/space/vma.c against an array with one record a page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/space/vma.h"

#include "../memory.h"

#define PAGES 400 /* of the modelled address space */

struct page {
	bool mapped;
	uint32_t flags;
	struct vm_file *file;
	uint64_t pgoff;
};

struct world {
	struct memory mem;
	struct kmem_cache slab;
	struct vma_set set;
	struct page page[PAGES];
	struct rmap file[2];
	struct rand rand;
	/* Free areas held back so that the slab has none. */
	struct vma *held[4096];
	unsigned nr_held;
};

static struct world w;

static void world_make(uint32_t frames, uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	memory_make(&w.mem, frames);
	assert_int_equal(kmem_cache_init(&w.slab, &w.mem.phys, "vma", sizeof(struct vma), 0, 1), 0);
	vma_set_init(&w.set, NULL, &w.slab);
	rmap_init(&w.file[0]);
	rmap_init(&w.file[1]);
	rand_seed(&w.rand, seed);
}

static void world_end(void)
{
	vma_set_destroy(&w.set);
	kmem_cache_destroy(&w.slab);
	memory_end(&w.mem);
}

/* The slab has this many free areas left and gets no frame for more. */
static void starve(unsigned left)
{
	struct vma *v;

	for (unsigned i = 0; i < left; i++)
		w.held[w.nr_held++] = kmem_cache_alloc(&w.slab);
	memory_exhaust(&w.mem);
	while ((v = kmem_cache_alloc(&w.slab)) != NULL)
		w.held[w.nr_held++] = v;
	while (left-- > 0)
		kmem_cache_free(&w.slab, w.held[--w.nr_held]);
}

static void feed(void)
{
	while (w.nr_held > 0)
		kmem_cache_free(&w.slab, w.held[--w.nr_held]);
	memory_restore(&w.mem);
}

static bool same_area(const struct page *a, const struct page *b)
{
	return a->mapped && b->mapped && a->flags == b->flags && a->file == b->file && a->pgoff + 1 == b->pgoff;
}

/* The list must be the maximal runs of the array, no more, no less. */
static void compare(void)
{
	struct vma *v = TAILQ_FIRST(&w.set.list);

	for (unsigned i = 0; i < PAGES;) {
		unsigned end = i + 1;

		if (!w.page[i].mapped) {
			i++;
			continue;
		}
		while (end < PAGES && same_area(&w.page[end - 1], &w.page[end]))
			end++;
		assert_non_null(v);
		assert_int_equal(v->start.n, i);
		assert_int_equal(v->end.n, end);
		assert_int_equal(v->flags, w.page[i].flags);
		assert_ptr_equal(v->file, w.page[i].file);
		assert_int_equal(v->pgoff, w.page[i].pgoff);
		v = TAILQ_NEXT(v, link);
		i = end;
	}
	assert_null(v);
}

static bool range_free(unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++) {
		if (w.page[i].mapped)
			return false;
	}
	return true;
}

static void compare_lookups(void)
{
	unsigned a = (unsigned)rand_below(&w.rand, PAGES), b = a + (unsigned)rand_below(&w.rand, PAGES - a + 1);
	unsigned above = a;
	struct vma *v;

	while (above < PAGES && !w.page[above].mapped)
		above++;
	v = vma_find_above(&w.set, (vpn_t){ a });
	assert_int_equal(v != NULL, above < PAGES);
	assert_true(v == NULL || (above < v->end.n && MAX(v->start.n, a) == above));
	v = vma_overlap(&w.set, (vpn_t){ a }, (vpn_t){ b });
	assert_int_equal(v != NULL, above < b);
	assert_true(v == NULL || (above < v->end.n && MAX(v->start.n, a) == above));
	v = vma_find(&w.set, (vpn_t){ a });
	assert_int_equal(v != NULL, w.page[a].mapped);
	assert_true(v == NULL || (v->start.n <= a && a < v->end.n));
}

static void compare_gap(void)
{
	unsigned floor = (unsigned)rand_below(&w.rand, PAGES), n = 1 + (unsigned)rand_below(&w.rand, 12);
	unsigned ceiling = (unsigned)rand_below(&w.rand, PAGES + 1);
	int64_t want = -1;
	vpn_t found;

	for (int64_t at = (int64_t)ceiling - n; at >= (int64_t)floor && want < 0; at--) {
		if (range_free((unsigned)at, (unsigned)at + n))
			want = at;
	}
	int err = vma_gap(&w.set, (vpn_t){ floor }, (vpn_t){ ceiling }, n, &found);

	assert_int_equal(err, want < 0 ? -ENOMEM : 0);
	if (err == 0)
		assert_int_equal(found.n, want);
}

/* What vma.c uses of a file. */
static struct vm_file *file(unsigned i)
{
	return (struct vm_file *)&w.file[i];
}

static uint32_t some_flags(void)
{
	return rand_below(&w.rand, 4) ? VMA_READ | VMA_WRITE : VMA_READ;
}

static int do_insert(unsigned start, unsigned end)
{
	uint32_t flags = some_flags();
	struct vm_file *mapped = rand_below(&w.rand, 4) ? NULL : file((unsigned)rand_below(&w.rand, 2));
	/* Files: half continue what a neighbour maps. */
	uint64_t pgoff = mapped == NULL || rand_below(&w.rand, 2) ? start : rand_below(&w.rand, 3);

	if (!range_free(start, end))
		return 0;
	struct vma *v = vma_insert(&w.set, (vpn_t){ start }, (vpn_t){ end }, flags, mapped, pgoff);

	if (v == NULL)
		return -ENOMEM;
	assert_true(v->start.n <= start && end <= v->end.n);
	for (unsigned i = start; i < end; i++)
		w.page[i] = (struct page){ true, flags, mapped, pgoff + (i - start) };
	return 0;
}

static int do_remove(unsigned start, unsigned end)
{
	int err = vma_remove(&w.set, (vpn_t){ start }, (vpn_t){ end });

	if (err == 0)
		memset(&w.page[start], 0, (end - start) * sizeof(w.page[0]));
	return err;
}

static int do_change(unsigned start, unsigned end)
{
	uint32_t bit = rand_below(&w.rand, 5) ? VMA_WRITE : VMA_LOCKED, set = rand_below(&w.rand, 2) ? bit : 0;
	int err = vma_change(&w.set, (vpn_t){ start }, (vpn_t){ end }, set, bit & ~set);

	for (unsigned i = start; err == 0 && i < end; i++) {
		if (w.page[i].mapped)
			w.page[i].flags = (w.page[i].flags & ~bit) | set;
	}
	return err;
}

static int do_move(unsigned start, unsigned end)
{
	unsigned n = end - start, to = (unsigned)rand_below(&w.rand, PAGES - n + 1);
	struct page moving[PAGES];

	/* Sometimes back to where it came from, where pgoff continues again. */
	if (w.page[start].mapped && w.page[start].file == NULL && w.page[start].pgoff + n <= PAGES && rand_below(&w.rand, 2))
		to = (unsigned)w.page[start].pgoff;
	if (!range_free(to, to + n))
		return 0;
	int err = vma_move(&w.set, (vpn_t){ start }, (vpn_t){ to }, n);

	if (err == 0) {
		memcpy(moving, &w.page[start], n * sizeof(w.page[0]));
		memset(&w.page[start], 0, n * sizeof(w.page[0]));
		memcpy(&w.page[to], moving, n * sizeof(w.page[0]));
	}
	return err;
}

static int random_step(void)
{
	unsigned start = (unsigned)rand_below(&w.rand, PAGES);
	unsigned most = rand_below(&w.rand, 10) ? 12 : 150;
	unsigned end = start + 1 + (unsigned)rand_below(&w.rand, MIN(PAGES - start, most));

	switch (rand_below(&w.rand, 10)) {
	case 0: case 1: case 2: case 3: return do_insert(start, end);
	case 4: case 5: return do_remove(start, end);
	case 6: return do_move(start, end);
	default: return do_change(start, end);
	}
}

static void agrees_with_an_array_of_pages(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		world_make(1024, seed);
		for (unsigned i = 0; i < 3000; i++) {
			assert_int_equal(random_step(), 0);
			vma_check(&w.set);
			compare();
			compare_lookups();
			compare_gap();
		}
		world_end();
	}
}

/* The oracle is changed only by what succeeded, so compare() sees anything that a failure left behind. */
static void without_memory_nothing_changes(void **state)
{
	unsigned failures[3] = { 0, 0, 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(1024, 100 + seed);
		for (unsigned i = 0; i < 3000; i++) {
			unsigned left = (unsigned)rand_below(&w.rand, 3);
			uint64_t inuse;

			starve(left);
			inuse = w.slab.nr_inuse - w.set.count;
			int err = random_step();

			/* Nothing leaked: areas handed out are those of the set and those held back. */
			assert_int_equal(w.slab.nr_inuse - w.set.count, inuse);
			feed();
			assert_true(err == 0 || err == -ENOMEM);
			failures[left] += err != 0;
			vma_check(&w.set);
			compare();
		}
		world_end();
	}
	assert_true(failures[0] > 500);
	assert_true(failures[1] > 20);
	assert_int_equal(failures[2], 0);
}

static struct vma *insert(uint64_t start, uint64_t end, uint32_t flags)
{
	struct vma *v = vma_insert(&w.set, (vpn_t){ start }, (vpn_t){ end }, flags, NULL, start);

	assert_non_null(v);
	return v;
}

static void insert_merges_with_both_neighbours(void **state)
{
	(void)state;
	world_make(256, 1);
	struct vma *a = insert(10, 20, VMA_READ);

	insert(30, 40, VMA_READ);
	assert_int_equal(w.set.count, 2);
	assert_ptr_equal(insert(20, 30, VMA_READ), a);
	assert_int_equal(w.set.count, 1);
	assert_int_equal(a->end.n, 40);
	insert(40, 50, VMA_READ | VMA_WRITE);
	assert_int_equal(w.set.count, 2);
	/* Another file, another pgoff: neighbours, not one area. */
	assert_non_null(vma_insert(&w.set, (vpn_t){ 50 }, (vpn_t){ 60 }, VMA_READ, file(0), 5));
	assert_non_null(vma_insert(&w.set, (vpn_t){ 60 }, (vpn_t){ 70 }, VMA_READ, file(0), 16));
	assert_int_equal(w.set.count, 4);
	assert_non_null(vma_insert(&w.set, (vpn_t){ 70 }, (vpn_t){ 80 }, VMA_READ, file(0), 26));
	assert_int_equal(w.set.count, 4);
	world_end();
}

static void a_moving_border_needs_no_memory(void **state)
{
	(void)state;
	world_make(256, 1);
	insert(0, 10, VMA_READ | VMA_WRITE);
	insert(10, 1000, VMA_READ);
	insert(1000, 1010, VMA_READ | VMA_WRITE);
	starve(0);
	for (uint64_t at = 10; at < 400; at += 10)
		assert_int_equal(vma_change(&w.set, (vpn_t){ at }, (vpn_t){ at + 10 }, VMA_WRITE, 0), 0);
	assert_int_equal(vma_change(&w.set, (vpn_t){ 900 }, (vpn_t){ 1000 }, VMA_WRITE, 0), 0);
	assert_int_equal(w.set.count, 3);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 399 })->start.n, 0);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 400 })->pgoff, 400);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 900 })->pgoff, 900);
	vma_check(&w.set);
	/* A hole of other rights needs two areas. */
	assert_int_equal(vma_change(&w.set, (vpn_t){ 500 }, (vpn_t){ 510 }, VMA_WRITE, 0), -ENOMEM);
	feed();
	assert_int_equal(vma_change(&w.set, (vpn_t){ 500 }, (vpn_t){ 510 }, VMA_WRITE, 0), 0);
	assert_int_equal(w.set.count, 5);
	/* … and closing it gives them back. */
	assert_int_equal(vma_change(&w.set, (vpn_t){ 0 }, (vpn_t){ 2000 }, VMA_WRITE, 0), 0);
	assert_int_equal(w.set.count, 1);
	world_end();
}

static void only_a_hole_needs_memory_to_be_made(void **state)
{
	(void)state;
	world_make(256, 1);
	insert(0, 100, VMA_READ);
	insert(200, 300, VMA_READ);
	starve(0);
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 0 }, (vpn_t){ 10 }), 0);
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 90 }, (vpn_t){ 210 }), 0);
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 40 }, (vpn_t){ 50 }), -ENOMEM);
	assert_int_equal(w.set.pages, 80 + 90);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 10 })->pgoff, 10);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 210 })->pgoff, 210);
	feed();
	world_end();
}

static void a_moved_area_merges_only_where_it_continues(void **state)
{
	(void)state;
	world_make(256, 1);
	insert(100, 120, VMA_READ);
	assert_int_equal(vma_move(&w.set, (vpn_t){ 110 }, (vpn_t){ 200 }, 10), 0);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 200 })->pgoff, 110);
	insert(210, 220, VMA_READ);
	assert_int_equal(w.set.count, 3);
	assert_int_equal(vma_move(&w.set, (vpn_t){ 200 }, (vpn_t){ 110 }, 10), 0);
	assert_int_equal(w.set.count, 2);
	assert_int_equal(vma_find(&w.set, (vpn_t){ 115 })->start.n, 100);
	world_end();
}

static void a_split_leaves_the_streams_with_the_left_part(void **state)
{
	static const struct vma_stream none;

	(void)state;
	world_make(256, 1);
	struct vma *v = insert(0, 100, VMA_READ);

	v->streams[1] = (struct vma_stream){ .last = 7, .next = 8, .stride = 1, .window = 2, .used = 9 };
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 40 }, (vpn_t){ 50 }), 0);
	struct vma *left = vma_find(&w.set, (vpn_t){ 0 }), *right = vma_find(&w.set, (vpn_t){ 50 });

	assert_int_equal(left->streams[1].last, 7);
	for (unsigned i = 0; i < VMA_STREAMS; i++)
		assert_memory_equal(&right->streams[i], &none, sizeof(none));
	world_end();
}

static void gaps_are_found_among_many_areas(void **state)
{
	enum { AREAS = 8000 };
	vpn_t found;

	(void)state;
	world_make(4096, 2);
	/* Areas of 3 pages every 4, inserted in a scattered order; then one hole of 8 pages. */
	for (uint64_t i = 0; i < AREAS; i++)
		insert(i * 2741 % AREAS * 4, i * 2741 % AREAS * 4 + 3, VMA_READ);
	assert_int_equal(w.set.count, AREAS);
	vma_check(&w.set);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 0 }, (vpn_t){ 4 * AREAS }, 2, &found), -ENOMEM);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 0 }, (vpn_t){ 4 * AREAS }, 1, &found), 0);
	assert_int_equal(found.n, 4 * AREAS - 1);
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 1000 }, (vpn_t){ 1007 }), 0);
	vma_check(&w.set);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 0 }, (vpn_t){ 4 * AREAS }, 8, &found), 0);
	assert_int_equal(found.n, 1000);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 0 }, (vpn_t){ 1006 }, 6, &found), 0);
	assert_int_equal(found.n, 1000);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 1001 }, (vpn_t){ 1006 }, 6, &found), -ENOMEM);
	world_end();
}

static void an_empty_space_is_one_gap(void **state)
{
	vpn_t found;

	(void)state;
	world_make(256, 1);
	assert_null(vma_find(&w.set, (vpn_t){ 5 }));
	assert_int_equal(vma_remove(&w.set, (vpn_t){ 0 }, (vpn_t){ 100 }), 0);
	assert_int_equal(vma_change(&w.set, (vpn_t){ 0 }, (vpn_t){ 100 }, VMA_WRITE, 0), 0);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 16 }, (vpn_t){ 100 }, 84, &found), 0);
	assert_int_equal(found.n, 16);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 16 }, (vpn_t){ 100 }, 85, &found), -ENOMEM);
	assert_int_equal(vma_gap(&w.set, (vpn_t){ 100 }, (vpn_t){ 16 }, 1, &found), -ENOMEM);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_an_array_of_pages),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(insert_merges_with_both_neighbours),
		cmocka_unit_test(a_moving_border_needs_no_memory),
		cmocka_unit_test(only_a_hole_needs_memory_to_be_made),
		cmocka_unit_test(a_moved_area_merges_only_where_it_continues),
		cmocka_unit_test(a_split_leaves_the_streams_with_the_left_part),
		cmocka_unit_test(gaps_are_found_among_many_areas),
		cmocka_unit_test(an_empty_space_is_one_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * mm/space/rmap.c, and how vma.c keeps it true, against address spaces as
 * arrays with one record a page: who maps page p of an object is every record
 * that says so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/space/vma.h"

#include "../memory.h"

#define SPACES 5
#define PAGES 160 /* of each modelled address space */
#define FILES 2
#define HELD_MAX 4096

struct page {
	bool mapped;
	uint32_t flags;
	struct vm_file *file;
	struct rmap *family;
	uint64_t pgoff;
};

struct space {
	struct vma_set set;
	struct page page[PAGES];
};

struct world {
	struct memory mem;
	struct kmem_cache vmas, families;
	struct space space[SPACES];
	struct rmap file[FILES];
	struct rmap *kept; /* a reference of the test's own, or NULL */
	struct rand rand;
	/* Objects held back so that the caches have none. */
	struct { struct kmem_cache *cache; void *object; } held[HELD_MAX];
	unsigned nr_held;
};

static struct world w;

/* What vma.c uses of a file. */
static struct vm_file *file(unsigned i)
{
	return (struct vm_file *)&w.file[i];
}

static void world_make(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	memory_make(&w.mem, 1024);
	assert_int_equal(kmem_cache_init(&w.vmas, &w.mem.phys, "vma", sizeof(struct vma), 0, 1), 0);
	assert_int_equal(kmem_cache_init(&w.families, &w.mem.phys, "anon", sizeof(struct rmap), 0, 1), 0);
	for (unsigned i = 0; i < SPACES; i++)
		vma_set_init(&w.space[i].set, (struct mm *)&w.space[i], &w.vmas);
	for (unsigned i = 0; i < FILES; i++)
		rmap_init(&w.file[i]);
	rand_seed(&w.rand, seed);
}

static void world_end(void)
{
	rmap_put(w.kept);
	for (unsigned i = 0; i < SPACES; i++)
		vma_set_destroy(&w.space[i].set);
	for (unsigned i = 0; i < FILES; i++) {
		rmap_check(&w.file[i]);
		assert_int_equal(w.file[i].nr, 0);
	}
	assert_int_equal(w.families.nr_inuse, 0);
	kmem_cache_destroy(&w.families);
	kmem_cache_destroy(&w.vmas);
	memory_end(&w.mem);
}

static unsigned below(uint64_t n)
{
	return (unsigned)rand_below(&w.rand, n);
}

/* Each cache has `left` objects and gets no frame for more. */
static void starve(unsigned left)
{
	struct kmem_cache *cache[] = { &w.vmas, &w.families };
	void *object;

	for (unsigned i = 0; i < 2; i++) {
		void *spare[8] = { NULL };

		for (unsigned k = 0; k < left; k++)
			spare[k] = kmem_cache_alloc(cache[i]);
		memory_exhaust(&w.mem);
		while ((object = kmem_cache_alloc(cache[i])) != NULL) {
			assert_true(w.nr_held < HELD_MAX);
			w.held[w.nr_held].cache = cache[i];
			w.held[w.nr_held++].object = object;
		}
		for (unsigned k = 0; k < left; k++)
			kmem_cache_free(cache[i], spare[k]);
		memory_restore(&w.mem);
	}
	memory_exhaust(&w.mem);
}

static void feed(void)
{
	while (w.nr_held > 0) {
		w.nr_held--;
		kmem_cache_free(w.held[w.nr_held].cache, w.held[w.nr_held].object);
	}
	memory_restore(&w.mem);
}

/*
 * The areas of a space say what its pages say. A page never changes its family; it gets one only from a page of the
 * same area that had it.
 */
static void compare_space(struct space *s)
{
	unsigned at = 0;
	struct vma *v;

	vma_check(&s->set);
	TAILQ_FOREACH(v, &s->set.list, link) {
		bool from_one = v->anon == NULL;

		for (; at < v->start.n; at++)
			assert_false(s->page[at].mapped);
		for (; at < v->end.n; at++) {
			struct page *p = &s->page[at];

			assert_true(p->mapped);
			assert_int_equal(p->flags, v->flags);
			assert_ptr_equal(p->file, v->file);
			assert_int_equal(p->pgoff, vma_pgoff(v, (vpn_t){ at }));
			assert_int_equal(vma_vpn(v, p->pgoff).n, at);
			assert_true(p->family == NULL || p->family == v->anon);
			from_one |= p->family == v->anon;
			p->family = v->anon;
		}
		assert_true(from_one);
	}
	for (; at < PAGES; at++)
		assert_false(s->page[at].mapped);
}

static struct rmap *object_of(const struct page *p, bool family)
{
	return family ? p->family : (struct rmap *)p->file;
}

/* Everybody who maps page pgoff of r, once each and in order. */
static void compare_query(struct rmap *r, bool family, uint64_t pgoff)
{
	unsigned want = 0, got = 0;
	uint64_t before = 0;

	for (unsigned i = 0; i < SPACES; i++) {
		for (unsigned at = 0; at < PAGES; at++) {
			const struct page *p = &w.space[i].page[at];

			want += p->mapped && object_of(p, family) == r && p->pgoff == pgoff;
		}
	}
	for (struct vma *v = rmap_first(r, pgoff); v != NULL; v = rmap_next(r, v, pgoff)) {
		const struct space *s = (const struct space *)v->mm;
		const struct page *p = &s->page[vma_vpn(v, pgoff).n];

		assert_true(p->mapped && object_of(p, family) == r && p->pgoff == pgoff);
		assert_true(v->pgoff >= before);
		before = v->pgoff;
		got++;
	}
	/* An area has one page of this pgoff, and areas do not overlap: as many as there are is all of them. */
	assert_int_equal(got, want);
}

static void compare_range(struct rmap *r, bool family, uint64_t first, uint64_t last)
{
	unsigned want = 0, got = 0;
	struct vma *v;

	for (unsigned i = 0; i < SPACES; i++) {
		TAILQ_FOREACH(v, &w.space[i].set.list, link) {
			if ((family ? v->anon : vma_file_rmap(v)) == r)
				want += v->pgoff <= last && v->pgoff + (v->end.n - v->start.n) > first;
		}
	}
	for (v = rmap_first_in(r, first, last); v != NULL; v = rmap_next_in(r, v, first, last))
		got++;
	assert_int_equal(got, want);
}

static void compare_object(struct rmap *r, bool family)
{
	uint64_t first = below(PAGES);

	rmap_check(r);
	compare_query(r, family, below(PAGES));
	compare_range(r, family, first, first + below(PAGES / 2));
	compare_range(r, family, 0, UINT64_MAX);
}

static void compare(void)
{
	struct rmap *seen[SPACES * PAGES + 1];
	unsigned nr_seen = 0;

	for (unsigned i = 0; i < SPACES; i++)
		compare_space(&w.space[i]);
	for (unsigned i = 0; i < FILES; i++)
		compare_object(&w.file[i], false);
	if (w.kept != NULL)
		seen[nr_seen++] = w.kept;
	for (unsigned i = 0; i < SPACES; i++) {
		struct vma *v;

		TAILQ_FOREACH(v, &w.space[i].set.list, link) {
			unsigned k = 0;

			while (k < nr_seen && seen[k] != v->anon)
				k++;
			if (v->anon != NULL && k == nr_seen)
				seen[nr_seen++] = v->anon;
		}
	}
	for (unsigned k = 0; k < nr_seen; k++) {
		compare_object(seen[k], true);
		assert_int_equal(seen[k]->refs, seen[k]->nr + (seen[k] == w.kept));
	}
}

/* Families handed out by the cache, less those held back, are those that somebody refers to. */
static unsigned families_in_use(void)
{
	struct rmap *seen[SPACES * PAGES + 1];
	unsigned n = 0;

	if (w.kept != NULL)
		seen[n++] = w.kept;
	for (unsigned i = 0; i < SPACES; i++) {
		for (unsigned at = 0; at < PAGES; at++) {
			struct rmap *r = w.space[i].page[at].family;
			unsigned k = 0;

			while (k < n && seen[k] != r)
				k++;
			if (r != NULL && k == n)
				seen[n++] = r;
		}
	}
	return n;
}

static bool range_free(const struct space *s, unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++) {
		if (s->page[i].mapped)
			return false;
	}
	return true;
}

static int do_insert(struct space *s, unsigned start, unsigned end)
{
	struct vm_file *mapped = below(3) ? NULL : file(below(FILES));
	uint32_t flags = below(3) ? VMA_READ | VMA_WRITE : VMA_READ;
	uint64_t pgoff = mapped == NULL || below(2) ? start : below(20);

	if (!range_free(s, start, end))
		return 0;
	if (vma_insert(&s->set, (vpn_t){ start }, (vpn_t){ end }, flags, mapped, pgoff) == NULL)
		return -ENOMEM;
	for (unsigned i = start; i < end; i++)
		s->page[i] = (struct page){ true, flags, mapped, NULL, pgoff + (i - start) };
	return 0;
}

static int do_remove(struct space *s, unsigned start, unsigned end)
{
	int err = vma_remove(&s->set, (vpn_t){ start }, (vpn_t){ end });

	if (err == 0)
		memset(&s->page[start], 0, (end - start) * sizeof(s->page[0]));
	return err;
}

static int do_change(struct space *s, unsigned start, unsigned end)
{
	uint32_t set = below(2) ? VMA_WRITE : 0;
	int err = vma_change(&s->set, (vpn_t){ start }, (vpn_t){ end }, set, VMA_WRITE & ~set);

	for (unsigned i = start; err == 0 && i < end; i++) {
		if (s->page[i].mapped)
			s->page[i].flags = (s->page[i].flags & ~(uint32_t)VMA_WRITE) | set;
	}
	return err;
}

static int do_move(struct space *s, unsigned start, unsigned end)
{
	unsigned n = end - start, to = below(PAGES - n + 1);
	struct page moving[PAGES];

	/* Sometimes back to where it came from, where pgoff continues again. */
	if (s->page[start].mapped && s->page[start].pgoff + n <= PAGES && below(2))
		to = (unsigned)s->page[start].pgoff;
	if (!range_free(s, to, to + n))
		return 0;
	int err = vma_move(&s->set, (vpn_t){ start }, (vpn_t){ to }, n);

	if (err == 0) {
		memcpy(moving, &s->page[start], n * sizeof(s->page[0]));
		memset(&s->page[start], 0, n * sizeof(s->page[0]));
		memcpy(&s->page[to], moving, n * sizeof(s->page[0]));
	}
	return err;
}

static int do_exit(struct space *s)
{
	vma_set_destroy(&s->set);
	memset(s->page, 0, sizeof(s->page));
	return 0;
}

/* As fork(2): all areas but those it is told not to; shared memory of a file needs no family. */
static int do_fork(struct space *parent)
{
	struct space *child = parent;
	struct vma *v;

	while (child == parent)
		child = &w.space[below(SPACES)];
	do_exit(child);
	TAILQ_FOREACH(v, &parent->set.list, link) {
		bool had = v->anon != NULL, share = v->file == NULL || below(2);

		if (below(4) == 0)
			continue;
		if (share && vma_share(v, &w.families) != 0)
			goto nomem;
		for (uint64_t at = v->start.n; !had && at < v->end.n; at++)
			parent->page[at].family = v->anon;
		if (vma_copy(&child->set, v) == NULL)
			goto nomem;
		for (uint64_t at = v->start.n; at < v->end.n; at++)
			child->page[at] = parent->page[at];
	}
	return 0;
nomem:
	do_exit(child);
	return -ENOMEM;
}

/* Somebody else, a frame say, refers to a family, and lets go of it some time. */
static int do_keep(struct space *s)
{
	rmap_put(w.kept);
	w.kept = rmap_get(s->page[below(PAGES)].family);
	return 0;
}

static int random_step(void)
{
	struct space *s = &w.space[below(SPACES)];
	unsigned start = below(PAGES);
	unsigned most = below(10) ? 12 : 60;
	unsigned end = start + 1 + below(MIN(PAGES - start, most));

	switch (below(24)) {
	case 0: return do_exit(s);
	case 1: case 2: return do_fork(s);
	case 3: return do_keep(s);
	case 4: case 5: case 6: case 7: return do_remove(s, start, end);
	case 8: case 9: case 10: return do_move(s, start, end);
	case 11: case 12: case 13: case 14: case 15: return do_change(s, start, end);
	default: return do_insert(s, start, end);
	}
}

static void agrees_with_arrays_of_pages(void **state)
{
	unsigned most = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		world_make(seed);
		for (unsigned i = 0; i < 3000; i++) {
			assert_int_equal(random_step(), 0);
			compare();
			assert_int_equal(w.families.nr_inuse, families_in_use());
			most = MAX(most, families_in_use());
		}
		world_end();
	}
	assert_true(most > 10);
}

static void without_memory_nothing_changes(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(100 + seed);
		for (unsigned i = 0; i < 3000; i++) {
			starve(below(4));
			int err = random_step();

			feed();
			assert_true(err == 0 || err == -ENOMEM);
			failures += err != 0;
			compare();
			assert_int_equal(w.families.nr_inuse, families_in_use());
		}
		world_end();
	}
	assert_true(failures > 500);
}

static struct vma *insert(unsigned s, uint64_t start, uint64_t end, uint32_t flags, struct vm_file *f, uint64_t pgoff)
{
	struct vma *v = vma_insert(&w.space[s].set, (vpn_t){ start }, (vpn_t){ end }, flags, f, pgoff);

	assert_non_null(v);
	return v;
}

static void a_page_of_a_file_is_found_wherever_it_is_mapped(void **state)
{
	(void)state;
	world_make(1);
	struct vma *a = insert(0, 10, 20, VMA_READ, file(0), 100), *b = insert(1, 50, 90, VMA_READ, file(0), 80);
	struct vma *c = insert(0, 30, 40, VMA_READ, file(0), 100);

	insert(1, 10, 20, VMA_READ, file(1), 100);
	/* By pgoff, then in the order in which they came. */
	assert_ptr_equal(rmap_first(&w.file[0], 105), b);
	assert_ptr_equal(rmap_next(&w.file[0], b, 105), a);
	assert_ptr_equal(rmap_next(&w.file[0], a, 105), c);
	assert_null(rmap_next(&w.file[0], c, 105));
	assert_int_equal(vma_vpn(b, 105).n, 75);
	assert_int_equal(vma_vpn(c, 105).n, 35);
	assert_null(rmap_first(&w.file[0], 79));
	assert_null(rmap_first(&w.file[0], 120));
	assert_ptr_equal(rmap_first(&w.file[0], 119), b);
	world_end();
}

static void two_families_are_not_merged(void **state)
{
	(void)state;
	world_make(1);
	struct vma *a = insert(0, 10, 20, VMA_READ, NULL, 10), *b = insert(0, 30, 40, VMA_READ, NULL, 30);

	assert_int_equal(vma_share(a, &w.families), 0);
	assert_int_equal(vma_share(b, &w.families), 0);
	assert_ptr_not_equal(a->anon, b->anon);
	/* What comes between them goes to the left one, and stops there. */
	assert_ptr_equal(insert(0, 20, 30, VMA_READ, NULL, 20), a);
	assert_int_equal(w.space[0].set.count, 2);
	assert_int_equal(a->end.n, 30);
	assert_ptr_equal(rmap_first(a->anon, 25), a);
	assert_null(rmap_first(b->anon, 25));
	/* Nor does mprotect merge them. */
	assert_int_equal(vma_change(&w.space[0].set, (vpn_t){ 10 }, (vpn_t){ 40 }, VMA_WRITE, 0), 0);
	assert_int_equal(w.space[0].set.count, 2);
	world_end();
}

static void neighbours_that_differ_only_in_rights_get_one_family(void **state)
{
	(void)state;
	world_make(1);
	struct vma *a = insert(0, 10, 20, VMA_READ, NULL, 10);
	struct vma *b = insert(0, 20, 30, VMA_READ | VMA_WRITE, NULL, 20);

	assert_int_equal(vma_share(b, &w.families), 0);
	assert_int_equal(vma_share(a, &w.families), 0);
	assert_ptr_equal(a->anon, b->anon);
	assert_int_equal(a->anon->refs, 2);
	assert_int_equal(vma_change(&w.space[0].set, (vpn_t){ 10 }, (vpn_t){ 30 }, VMA_WRITE, 0), 0);
	assert_int_equal(w.space[0].set.count, 1);
	world_end();
}

/* The border between two areas moves, and with it pages of a family come to an area that had none. */
static void who_takes_pages_of_a_family_joins_it(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 2; first++) {
		world_make(1);
		struct vma *area[2] = {
			insert(0, 10, 20, VMA_READ, NULL, 10),
			insert(0, 20, 30, VMA_READ | VMA_WRITE, NULL, 20),
		};
		struct vma *giver = area[first], *taker = area[!first];
		struct rmap *family;
		uint64_t at = first == 0 ? 15 : 20;

		assert_int_equal(vma_share(giver, &w.families), 0);
		family = giver->anon;
		assert_int_equal(vma_change(&w.space[0].set, (vpn_t){ at }, (vpn_t){ at + 5 },
					    first == 0 ? VMA_WRITE : 0, first == 0 ? 0 : VMA_WRITE), 0);
		assert_int_equal(w.space[0].set.count, 2);
		assert_ptr_equal(taker->anon, family);
		assert_ptr_equal(rmap_first(family, at), taker);
		assert_int_equal(family->refs, 2);
		vma_check(&w.space[0].set);
		rmap_check(family);
		world_end();
	}
}

static void a_family_lives_as_long_as_somebody_refers_to_it(void **state)
{
	(void)state;
	world_make(1);
	struct vma *a = insert(0, 10, 20, VMA_READ, NULL, 10);

	assert_int_equal(vma_share(a, &w.families), 0);
	assert_non_null(vma_copy(&w.space[1].set, a));
	w.kept = rmap_get(a->anon);
	assert_int_equal(w.kept->nr, 2);
	vma_set_destroy(&w.space[0].set);
	assert_ptr_equal(rmap_first(w.kept, 12)->mm, &w.space[1]);
	vma_set_destroy(&w.space[1].set);
	assert_null(rmap_first(w.kept, 12));
	rmap_check(w.kept);
	assert_int_equal(w.families.nr_inuse, 1);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_arrays_of_pages),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(a_page_of_a_file_is_found_wherever_it_is_mapped),
		cmocka_unit_test(two_families_are_not_merged),
		cmocka_unit_test(neighbours_that_differ_only_in_rights_get_one_family),
		cmocka_unit_test(who_takes_pages_of_a_family_joins_it),
		cmocka_unit_test(a_family_lives_as_long_as_somebody_refers_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

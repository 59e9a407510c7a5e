/* vmalloc against a map of pages, searched from the lowest address; and a page table that notices every wrong mapping. */
#include <errno.h>

#include "../memory.h"
#include "base/rand.h"
#include "mm/phys/vmalloc.h"

#define NR_FRAMES 2048u
#define START 0xffffc90000000000u
#define NR_PAGES 700u /* of address space: fewer than frames, so that both run out */
#define MAX_AREAS 400

static struct memory m;
static struct kmalloc k;
static struct vmalloc v;

static struct frame *table[NR_PAGES]; /* what vmap mapped */
static bool map_fails;

static int map_pages(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	uint64_t page = (address - START) / PAGE_SIZE;

	assert_ptr_equal(ctx, &v);
	if (map_fails)
		return -ENOMEM;
	assert_true(address % PAGE_SIZE == 0 && page + n <= NR_PAGES);
	for (uint32_t i = 0; i < n; i++) {
		assert_null(table[page + i]);
		table[page + i] = frames[i];
	}
	return 0;
}

static void unmap_pages(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	uint64_t page = (address - START) / PAGE_SIZE;

	assert_ptr_equal(ctx, &v);
	for (uint32_t i = 0; i < n; i++) {
		assert_ptr_equal(table[page + i], frames[i]);
		table[page + i] = NULL;
	}
}

static int make(void **state)
{
	(void)state;
	memory_make(&m, NR_FRAMES);
	m.phys.min_free_kbytes = 4;
	phys_setup_watermarks(&m.phys);
	map_fails = false;
	memset(table, 0, sizeof(table));
	if (kmalloc_init(&k, &m.phys, 2) != 0)
		return -1;
	if (vmalloc_init(&v, &m.phys, &k, START, START + NR_PAGES * PAGE_SIZE) != 0)
		return -1;
	v.vmap = map_pages;
	v.vunmap = unmap_pages;
	v.ctx = &v;
	return 0;
}

static int drop(void **state)
{
	(void)state;
	vmalloc_destroy(&v);
	kmalloc_destroy(&k);
	memory_end(&m);
	return 0;
}

/* The oracle: pages in use, guard pages included, and the areas. */
static bool used[NR_PAGES];
static struct {
	uint32_t page, n;
} area[MAX_AREAS];
static unsigned nr_areas;

/* The first page of the lowest run of n free ones; NR_PAGES if there is none. */
static uint32_t naive_first_fit(uint32_t n)
{
	for (uint32_t page = 0; page + n <= NR_PAGES; page++) {
		uint32_t i = 0;

		while (i < n && !used[page + i])
			i++;
		if (i == n)
			return page;
	}
	return NR_PAGES;
}

static void paint(uint32_t page, uint32_t n, bool on)
{
	for (uint32_t i = 0; i < n; i++) {
		assert_true(used[page + i] != on);
		used[page + i] = on;
	}
}

static void alloc_one(struct rand *r)
{
	uint32_t n = 1 + (uint32_t)rand_below(r, 1 + rand_below(r, 40));
	size_t size = n * PAGE_SIZE - rand_below(r, PAGE_SIZE);
	uint32_t want = naive_first_fit(n + 1);
	uint64_t address = vmalloc(&v, size);

	if (want == NR_PAGES) {
		assert_true(address == 0);
		return;
	}
	assert_true(address == START + want * PAGE_SIZE);
	paint(want, n + 1, true);
	for (uint32_t i = 0; i < n; i++)
		assert_non_null(table[want + i]);
	assert_null(table[want + n]);
	area[nr_areas].page = want;
	area[nr_areas++].n = n;
}

static void free_one(struct rand *r)
{
	unsigned i = (unsigned)rand_below(r, nr_areas);

	vfree(&v, START + area[i].page * PAGE_SIZE);
	paint(area[i].page, area[i].n + 1, false);
	area[i] = area[--nr_areas];
}

static void the_lowest_range_that_fits_wins_and_a_guard_page_follows(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 3);
	for (int i = 0; i < 12000; i++) {
		if (rand_below(&r, 100) < (i / 2000 % 2 ? 42u : 58u) && nr_areas < MAX_AREAS)
			alloc_one(&r);
		else if (nr_areas > 0)
			free_one(&r);
		vmalloc_check(&v);
	}
	while (nr_areas > 0)
		free_one(&r);
	vmalloc_check(&v);
	assert_int_equal(v.nr_pages, 0);
}

static void a_size_that_cannot_be_served_is_refused(void **state)
{
	(void)state;
	assert_true(vmalloc(&v, 0) == 0);
	assert_true(vmalloc(&v, SIZE_MAX) == 0);
	assert_true(vmalloc(&v, NR_PAGES * PAGE_SIZE) == 0); /* no room for the guard page */
	uint64_t address = vmalloc(&v, (NR_PAGES - 1) * PAGE_SIZE);

	assert_true(address == START);
	vmalloc_check(&v);
	assert_true(vmalloc(&v, 1) == 0);
	vfree(&v, address);
}

static void a_bad_range_is_refused(void **state)
{
	struct vmalloc other;

	(void)state;
	assert_int_equal(vmalloc_init(&other, &m.phys, &k, 0, PAGE_SIZE), -EINVAL);
	assert_int_equal(vmalloc_init(&other, &m.phys, &k, START, START), -EINVAL);
	assert_int_equal(vmalloc_init(&other, &m.phys, &k, START + 1, START + 8 * PAGE_SIZE), -EINVAL);
	m.phys.fail_nth = 1;
	assert_int_equal(vmalloc_init(&other, &m.phys, &k, START, START + 8 * PAGE_SIZE), -ENOMEM);
}

/* Free frames once no cache keeps an empty slab: what is missing then is in use or lost. */
static uint32_t free_frames(void)
{
	kmem_cache_shrink(&v.areas);
	for (unsigned i = 0; i < KMALLOC_CLASSES; i++)
		kmem_cache_shrink(&k.cache[i]);
	return m.phys.zones[0].free;
}

static void failure_anywhere_changes_nothing(void **state)
{
	uint64_t keep[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		keep[i] = vmalloc(&v, (i + 1) * PAGE_SIZE);
	vfree(&v, keep[1]); /* a hole of three pages */
	for (unsigned forever = 0; forever < 2; forever++) {
		bool fired = true;

		for (unsigned nth = 1; fired; nth++) {
			uint32_t free = free_frames();
			uint64_t address;

			m.phys.fail_nth = nth;
			m.phys.fail_forever = forever;
			address = vmalloc(&v, 20 * PAGE_SIZE);
			fired = address == 0;
			assert_true(forever || fired == (m.phys.fail_nth == 0));
			m.phys.fail_nth = 0;
			m.phys.fail_forever = false;
			vmalloc_check(&v);
			if (!fired)
				vfree(&v, address);
			assert_int_equal(v.nr_pages, 4);
			assert_int_equal(free_frames(), free);
			phys_check(&m.phys);
		}
	}
	vfree(&v, keep[0]);
	vfree(&v, keep[2]);
}

static void a_mapping_that_fails_gives_range_and_frames_back(void **state)
{
	uint64_t a, b;
	uint32_t free;

	(void)state;
	a = vmalloc(&v, 5 * PAGE_SIZE);
	vfree(&v, a);
	free = free_frames();
	map_fails = true;
	/* With the rest of the range free, and with exactly a hole free. */
	assert_true(vmalloc(&v, 5 * PAGE_SIZE) == 0);
	vmalloc_check(&v);
	map_fails = false;
	a = vmalloc(&v, 5 * PAGE_SIZE);
	b = vmalloc(&v, PAGE_SIZE);
	vfree(&v, a);
	map_fails = true;
	assert_true(vmalloc(&v, 5 * PAGE_SIZE) == 0);
	vmalloc_check(&v);
	map_fails = false;
	assert_true(vmalloc(&v, 5 * PAGE_SIZE) == a);
	vfree(&v, a);
	vfree(&v, b);
	assert_int_equal(free_frames(), free);
	phys_check(&m.phys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_lowest_range_that_fits_wins_and_a_guard_page_follows, make, drop),
		cmocka_unit_test_setup_teardown(a_size_that_cannot_be_served_is_refused, make, drop),
		cmocka_unit_test_setup_teardown(a_bad_range_is_refused, make, drop),
		cmocka_unit_test_setup_teardown(failure_anywhere_changes_nothing, make, drop),
		cmocka_unit_test_setup_teardown(a_mapping_that_fails_gives_range_and_frames_back, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

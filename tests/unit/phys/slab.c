/* Slab caches and kmalloc against a list of what was handed out; SLUB's own sizes. */
#include <errno.h>

#include "../caught.h"
#include "../memory.h"
#include "base/rand.h"
#include "mm/phys/slab.h"

#define NR_FRAMES 4096u

static struct memory m;

static int make(void **state)
{
	(void)state;
	memory_make(&m, NR_FRAMES);
	m.phys.min_free_kbytes = 4;
	phys_setup_watermarks(&m.phys);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	memory_end(&m);
	return 0;
}

static void sizes_and_orders_are_those_of_slub(void **state)
{
	/* /proc/slabinfo of a machine with two CPUs; sizes as they are there. */
	static const struct {
		size_t size, align;
		unsigned stride, objects, order;
	} want[] = {
		{ 256, 0, 256, 16, 0 },  { 512, 0, 512, 16, 1 },   { 1024, 0, 1024, 16, 2 }, { 2048, 0, 2048, 16, 3 },
		{ 4096, 0, 4096, 8, 3 }, { 8192, 0, 8192, 4, 3 },  { 96, 0, 96, 42, 0 },     { 192, 0, 192, 21, 0 },
		{ 64, 0, 64, 64, 0 },    { 8, 0, 8, 512, 0 },      { 1568, 64, 1600, 20, 3 }, { 104, 0, 104, 39, 0 },
		{ 624, 0, 624, 13, 1 },  { 584, 0, 584, 14, 1 },   { 5840, 64, 5888, 5, 3 },
		/* Beyond: one object a slab. */
		{ 40000, 0, 40000, 1, 4 }, { 1, 0, 8, 512, 0 }, { 4 << 20, 0, 4 << 20, 1, 10 },
	};
	struct kmem_cache c;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(kmem_cache_init(&c, &m.phys, "t", want[i].size, want[i].align, 2), 0);
		assert_int_equal(c.size, want[i].stride);
		assert_int_equal(c.objects, want[i].objects);
		assert_int_equal(c.order, want[i].order);
	}
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 4096, 0, 2), 0);
	assert_int_equal(c.min_partial, 6);
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 96, 0, 2), 0);
	assert_int_equal(c.min_partial, 5);
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 0, 0, 2), -EINVAL);
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", (4 << 20) + 1, 0, 2), -EINVAL);
}

/* What the oracle knows of an object: where it is, how large, and what was written to it. */
#define MAX_OBJECTS 3000

static struct object {
	uint8_t *at;
	size_t size;
	uint8_t byte;
} held[MAX_OBJECTS];
static unsigned nr_held;
static uint8_t taken[NR_FRAMES * PAGE_SIZE / 8]; /* which 8-byte words belong to an object */

static void claim(const uint8_t *at, size_t size, uint8_t from, uint8_t to)
{
	size_t first = (size_t)(at - m.bytes) / 8;

	assert_true(at >= m.bytes && at + size <= m.bytes + sizeof(taken) * 8);
	for (size_t i = first; i < first + DIV_ROUND_UP(size, 8); i++) {
		if (taken[i] != from)
			fail_msg("word %zu of the machine belongs to two objects", i);
		taken[i] = to;
	}
}

static void object_got(uint8_t *at, size_t size, struct rand *r)
{
	struct object *o = &held[nr_held++];

	*o = (struct object){ at, size, (uint8_t)rand_u64(r) };
	claim(at, size, 0, 1);
	memset(at, o->byte, size);
}

static struct object object_lose(unsigned i)
{
	struct object o = held[i];

	for (size_t k = 0; k < o.size; k++) {
		if (o.at[k] != o.byte)
			fail_msg("byte %zu of an object changed", k);
	}
	claim(o.at, o.size, 1, 0);
	held[i] = held[--nr_held];
	return o;
}

static void objects_never_overlap_and_keep_their_contents(void **state)
{
	static const struct {
		size_t size, align;
	} shape[] = { { 1, 0 }, { 24, 0 }, { 100, 32 }, { 640, 0 }, { 1568, 64 }, { 4096, 4096 }, { 20000, 0 } };

	(void)state;
	for (unsigned s = 0; s < ARRAY_SIZE(shape); s++) {
		struct kmem_cache c;
		struct rand r;

		rand_seed(&r, s);
		assert_int_equal(kmem_cache_init(&c, &m.phys, "t", shape[s].size, shape[s].align, 2), 0);
		for (int i = 0; i < 4000; i++) {
			unsigned bias = i / 1000 % 2 ? 35 : 65;

			if (rand_below(&r, 100) < bias && nr_held < 600) {
				uint8_t *at = kmem_cache_alloc(&c);

				assert_non_null(at);
				assert_int_equal((size_t)(at - m.bytes) % MAX(shape[s].align, 8), 0);
				object_got(at, shape[s].size, &r);
			} else if (nr_held > 0) {
				kmem_cache_free(&c, object_lose((unsigned)rand_below(&r, nr_held)).at);
			}
			if (i % 500 == 0)
				kmem_cache_shrink(&c);
			if (i % 32 == 0)
				kmem_cache_check(&c);
			assert_int_equal(c.nr_inuse, nr_held);
		}
		while (nr_held > 0)
			kmem_cache_free(&c, object_lose(nr_held - 1).at);
		kmem_cache_check(&c);
		kmem_cache_destroy(&c);
		phys_check(&m.phys);
		assert_int_equal(m.phys.zones[0].free, NR_FRAMES);
	}
}

static void empty_slabs_are_kept_up_to_min_partial_and_shrink_gives_them_back(void **state)
{
	void *object[160];
	struct kmem_cache c;

	(void)state;
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 256, 0, 2), 0);
	for (unsigned i = 0; i < 160; i++)
		object[i] = kmem_cache_alloc(&c);
	assert_int_equal(c.nr_slabs, 10);
	assert_int_equal(c.nr_partial, 0);
	for (unsigned i = 0; i < 160; i++)
		kmem_cache_free(&c, object[i]);
	kmem_cache_check(&c);
	assert_in_range(c.nr_slabs, c.min_partial - 1, c.min_partial);
	assert_int_equal(kmem_cache_shrink(&c), c.min_partial - 1);
	assert_int_equal(c.nr_slabs, 0);
	assert_int_equal(m.phys.zones[0].free, NR_FRAMES);
}

static void a_fragmented_machine_still_gives_small_slabs(void **state)
{
	struct frame *all[NR_FRAMES >> MAX_PAGE_ORDER];
	void *object[64];
	struct kmem_cache c;

	(void)state;
	assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 1024, 0, 2), 0);
	assert_int_equal(c.order, 2);
	for (unsigned i = 0; i < 20; i++)
		object[i] = kmem_cache_alloc(&c); /* one large slab full, one partial */
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		all[i] = frame_alloc(&m.phys, 0, MAX_PAGE_ORDER, MIGRATE_MOVABLE, ALLOC_RESERVE);
		if (all[i] == NULL)
			continue;
		frame_split(&m.phys, all[i], MAX_PAGE_ORDER);
		for (unsigned k = 0; k < 1u << MAX_PAGE_ORDER; k += 2)
			frame_free(&m.phys, &all[i][k], 0);
	}
	/* What is left of the block that the cache cut. */
	struct frame *rest[1024];
	unsigned nr_rest = 0;

	while (nr_rest < 1024 && (rest[nr_rest] = frame_alloc(&m.phys, 0, 1, MIGRATE_MOVABLE, ALLOC_RESERVE)) != NULL)
		nr_rest++;
	for (unsigned i = 20; i < 64; i++) {
		object[i] = kmem_cache_alloc(&c);
		assert_non_null(object[i]);
		memset(object[i], (int)i, 1024);
		kmem_cache_check(&c);
	}
	for (unsigned i = 20; i < 64; i++)
		assert_int_equal(*((uint8_t *)object[i] + 1023), i);
	for (unsigned i = 0; i < 64; i++)
		kmem_cache_free(&c, object[i]);
	kmem_cache_destroy(&c);
	while (nr_rest > 0)
		frame_free(&m.phys, rest[--nr_rest], 1);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		for (unsigned k = 1; all[i] != NULL && k < 1u << MAX_PAGE_ORDER; k += 2)
			frame_free(&m.phys, &all[i][k], 0);
	}
}

static void a_cache_without_memory_returns_null_and_stays_whole(void **state)
{
	(void)state;
	for (unsigned nth = 1;; nth++) {
		void *object[200];
		struct kmem_cache c;
		unsigned n = 0;
		bool fired;

		assert_int_equal(kmem_cache_init(&c, &m.phys, "t", 1024, 0, 2), 0);
		m.phys.fail_nth = nth;
		m.phys.fail_forever = true;
		while (n < 200 && (object[n] = kmem_cache_alloc(&c)) != NULL)
			n++;
		fired = n < 200;
		assert_int_equal(n, fired ? (nth - 1) * c.objects : 200);
		m.phys.fail_nth = 0;
		m.phys.fail_forever = false;
		kmem_cache_check(&c);
		while (n > 0)
			kmem_cache_free(&c, object[--n]);
		kmem_cache_destroy(&c);
		assert_int_equal(m.phys.zones[0].free, NR_FRAMES);
		if (!fired)
			break;
	}
}

static size_t usable_for(size_t size)
{
	static const size_t classes[] = { 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192 };
	size_t usable = 16384;

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		if (size <= classes[i])
			return classes[i];
	}
	while (usable < size)
		usable *= 2;
	return usable;
}

static void kmalloc_takes_the_smallest_class_or_a_block(void **state)
{
	struct kmalloc k;

	(void)state;
	assert_int_equal(kmalloc_init(&k, &m.phys, 2), 0);
	for (size_t size = 0; size <= 8200; size++) {
		void *o = kmalloc(&k, size);

		assert_int_equal(ksize(&k, o), usable_for(size));
		kfree(&k, o);
	}
	for (unsigned order = 2; order <= MAX_PAGE_ORDER; order++) {
		for (int d = -1; d <= 1; d++) {
			size_t size = (PAGE_SIZE << order) + (size_t)d;
			void *o = kmalloc(&k, size);

			if (size > 4 * MIB) {
				assert_null(o);
				continue;
			}
			assert_non_null(o);
			assert_int_equal(ksize(&k, o), usable_for(size));
			memset(o, 1, size);
			kfree(&k, o);
		}
	}
	kfree(&k, NULL);
	assert_int_equal(ksize(&k, NULL), 0);
	assert_null(kmalloc(&k, SIZE_MAX));
	kmalloc_destroy(&k);
}

static void kmalloc_objects_of_all_sizes_never_overlap(void **state)
{
	struct kmalloc k;
	struct rand r;

	(void)state;
	rand_seed(&r, 42);
	assert_int_equal(kmalloc_init(&k, &m.phys, 2), 0);
	for (int i = 0; i < 12000; i++) {
		if (rand_below(&r, 100) < 52 && nr_held < 900) {
			size_t size = 1 + rand_below(&r, (uint64_t)1 << (1 + rand_below(&r, 16)));
			uint8_t *at = kmalloc(&k, size);

			if (at != NULL) {
				assert_true(ksize(&k, at) >= size);
				object_got(at, ksize(&k, at), &r);
			}
		} else if (nr_held > 0) {
			kfree(&k, object_lose((unsigned)rand_below(&r, nr_held)).at);
		}
		if (i % 256 == 0) {
			for (unsigned c = 0; c < KMALLOC_CLASSES; c++)
				kmem_cache_check(&k.cache[c]);
			phys_check(&m.phys);
		}
	}
	while (nr_held > 0)
		kfree(&k, object_lose(nr_held - 1).at);
	kmalloc_destroy(&k);
}

static void a_wrong_free_is_caught(void **state)
{
	static struct kmalloc k;
	char *a, *big;

	(void)state;
	assert_int_equal(kmalloc_init(&k, &m.phys, 2), 0);
	a = kmalloc(&k, 64);
	big = kmalloc(&k, 20000);
	assert_true(CAUGHT(kfree(&k, big + PAGE_SIZE)));
	assert_true(CAUGHT(kfree(&k, big + 8)));
	kfree(&k, big);
	assert_true(CAUGHT(kfree(&k, big)));
#ifdef STW_DEBUG
	assert_true(CAUGHT(kfree(&k, a + 8)));
#endif
	kfree(&k, a);
	assert_true(CAUGHT(kfree(&k, a)));
	kmalloc_destroy(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes_and_orders_are_those_of_slub, make, drop),
		cmocka_unit_test_setup_teardown(objects_never_overlap_and_keep_their_contents, make, drop),
		cmocka_unit_test_setup_teardown(empty_slabs_are_kept_up_to_min_partial_and_shrink_gives_them_back, make, drop),
		cmocka_unit_test_setup_teardown(a_fragmented_machine_still_gives_small_slabs, make, drop),
		cmocka_unit_test_setup_teardown(a_cache_without_memory_returns_null_and_stays_whole, make, drop),
		cmocka_unit_test_setup_teardown(kmalloc_takes_the_smallest_class_or_a_block, make, drop),
		cmocka_unit_test_setup_teardown(kmalloc_objects_of_all_sizes_never_overlap, make, drop),
		cmocka_unit_test_setup_teardown(a_wrong_free_is_caught, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

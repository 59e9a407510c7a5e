/* mm/backing/pagecache.c against one record a page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/backing/pagecache.h"

#include "../memory.h"

#define FILES 3
#define PAGES 240 /* records of a file */
#define FRAMES 1024

/* Dense runs, and one behind a hole of a gigabyte; ascending. */
static uint64_t pgoff_of(unsigned i)
{
	return i < 80 ? i : i < 160 ? 4050 + (i - 80) : ((uint64_t)1 << 18) + (i - 160) * 3;
}

struct page {
	struct frame *frame; /* NULL: not cached */
	bool dirty, writeback, locked;
	int32_t shadow;      /* -1: none */
};

struct world {
	struct memory mem;
	struct pagecache cache;
	struct vm_file file[FILES];
	struct page page[FILES][PAGES];
	uint64_t size[FILES];
	struct rand rand;
	unsigned without_node; /* times that pagecache_add failed */
};

static struct world w;

static void page_clear(struct page *p)
{
	*p = (struct page){ .shadow = -1 };
}

static void world_make(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	memory_make(&w.mem, FRAMES);
	assert_int_equal(pagecache_init(&w.cache, &w.mem.phys), 0);
	rand_seed(&w.rand, seed);
	for (unsigned f = 0; f < FILES; f++) {
		w.size[f] = pgoff_of(PAGES - 1) + 1;
		vm_file_init(&w.file[f], &w.cache, w.size[f]);
		for (unsigned i = 0; i < PAGES; i++)
			page_clear(&w.page[f][i]);
	}
}

static unsigned below(uint64_t n)
{
	return (unsigned)rand_below(&w.rand, n);
}

static void frame_return(struct frame *frame)
{
	assert_int_equal(frame->flags, 0);
	frame_free(&w.mem.phys, frame, 0);
}

/* pagecache_truncate's: the frame is of a page that is beyond the end. */
static void drop(void *ctx, struct frame *frame)
{
	unsigned f = *(unsigned *)ctx;

	for (unsigned i = 0; i < PAGES; i++) {
		struct page *p = &w.page[f][i];

		if (p->frame == frame) {
			assert_true(pgoff_of(i) >= w.size[f] && !p->locked && !p->writeback);
			page_clear(p);
			frame_return(frame);
			return;
		}
	}
	fail();
}

static void truncate_to(unsigned f, uint64_t size)
{
	uint64_t left;

	w.size[f] = size;
	left = pagecache_truncate(&w.file[f], size, drop, &f);
	for (unsigned i = 0; i < PAGES; i++) {
		struct page *p = &w.page[f][i];

		if (pgoff_of(i) < size)
			continue;
		if (p->frame == NULL)
			page_clear(p);
		else
			left--;
	}
	assert_int_equal(left, 0);
}

static void world_end(void)
{
	for (unsigned f = 0; f < FILES; f++) {
		for (unsigned i = 0; i < PAGES; i++) {
			struct page *p = &w.page[f][i];

			if (p->locked)
				p->frame->flags &= (uint16_t)~FRAME_LOCKED;
			if (p->writeback)
				pagecache_end_writeback(p->frame);
			p->locked = p->writeback = false;
		}
		/* Half of them go with their shadows. */
		if (f != 0)
			truncate_to(f, 0);
		for (unsigned i = 0; i < PAGES; i++) {
			struct page *p = &w.page[f][i];

			if (p->frame != NULL) {
				pagecache_evict(p->frame, 1);
				frame_return(p->frame);
			}
		}
		vm_file_destroy(&w.file[f]);
	}
	assert_int_equal(w.cache.nr_cached + w.cache.nr_dirty + w.cache.nr_shadows + w.cache.nr_writeback, 0);
	pagecache_destroy(&w.cache);
	memory_end(&w.mem);
}

static void compare_file(unsigned f)
{
	const struct page *page = w.page[f];
	uint64_t cached = 0, dirty = 0, writeback = 0, shadows = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		assert_ptr_equal(pagecache_get(&w.file[f], pgoff_of(i)), page[i].frame);
		cached += page[i].frame != NULL;
		dirty += page[i].dirty;
		writeback += page[i].writeback;
		shadows += page[i].shadow >= 0;
	}
	assert_int_equal(w.file[f].nr_cached, cached);
	assert_int_equal(w.file[f].nr_dirty, dirty);
	assert_int_equal(w.file[f].nr_writeback, writeback);
	assert_int_equal(w.file[f].nr_shadows, shadows);
}

static void compare_next(unsigned f)
{
	unsigned a = below(PAGES), b = a + below(PAGES - a), any = a, dirty = a;
	const struct page *page = w.page[f];

	while (any <= b && page[any].frame == NULL)
		any++;
	while (dirty <= b && !page[dirty].dirty)
		dirty++;
	assert_ptr_equal(pagecache_next(&w.file[f], pgoff_of(a), pgoff_of(b)), any <= b ? page[any].frame : NULL);
	assert_ptr_equal(pagecache_next_tagged(&w.file[f], pgoff_of(a), pgoff_of(b), PAGECACHE_DIRTY),
			 dirty <= b ? page[dirty].frame : NULL);
}

static void compare(void)
{
	pagecache_check(&w.cache);
	for (unsigned f = 0; f < FILES; f++) {
		compare_file(f);
		compare_next(f);
	}
}

static int do_add(unsigned f, unsigned i)
{
	struct page *p = &w.page[f][i];
	struct frame *frame;
	int32_t shadow = 12345;
	int err;

	if (pgoff_of(i) >= w.size[f])
		return 0;
	frame = frame_alloc(&w.mem.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
	if (frame == NULL)
		return -ENOMEM;
	err = pagecache_add(&w.file[f], pgoff_of(i), frame, &shadow);
	if (p->frame != NULL)
		assert_int_equal(err, -EEXIST);
	/* Where a shadow is, there is a node. */
	if (p->shadow >= 0)
		assert_int_equal(err, 0);
	if (err != 0) {
		frame_return(frame);
		w.without_node += err == -ENOMEM;
		return err == -EEXIST ? 0 : err;
	}
	assert_int_equal(shadow, p->shadow);
	assert_true(frame->flags == FRAME_FILE && frame->cache.file == &w.file[f]);
	p->frame = frame;
	p->shadow = -1;
	return 0;
}

static void do_leave(unsigned f, unsigned i)
{
	struct page *p = &w.page[f][i];
	struct frame *frame = p->frame;
	uint16_t age = (uint16_t)rand_u64(&w.rand);
	bool evict = below(2);

	if (frame == NULL || p->writeback || p->locked)
		return;
	page_clear(p);
	if (evict) {
		pagecache_evict(frame, age);
		p->shadow = pgoff_of(i) < w.size[f] ? age : -1;
	} else {
		pagecache_remove(frame);
	}
	frame_return(frame);
}

static void do_mark(unsigned f, unsigned i)
{
	struct page *p = &w.page[f][i];

	if (p->frame == NULL)
		return;
	switch (below(4)) {
	case 0:
		assert_int_equal(pagecache_set_dirty(p->frame), !p->dirty);
		p->dirty = true;
		break;
	case 1:
		assert_int_equal(pagecache_clear_dirty(p->frame), p->dirty);
		p->dirty = false;
		break;
	case 2:
		p->frame->flags ^= FRAME_LOCKED;
		p->locked = !p->locked;
		break;
	default:
		if (p->writeback) {
			pagecache_end_writeback(p->frame);
			p->writeback = false;
		} else if (p->dirty) {
			pagecache_start_writeback(p->frame);
			p->writeback = true;
			p->dirty = false;
		}
	}
}

static void do_forget(unsigned f)
{
	pagecache_forget(&w.file[f]);
	for (unsigned i = 0; i < PAGES; i++)
		w.page[f][i].shadow = -1;
}

static int random_step(void)
{
	unsigned f = below(FILES), i = below(PAGES);

	switch (below(64)) {
	case 0: truncate_to(f, pgoff_of(i) + below(2)); return 0;
	case 1: case 2: truncate_to(f, pgoff_of(PAGES - 1) + 1); return 0;
	case 3: do_forget(f); return 0;
	default:
		break;
	}
	switch (below(4)) {
	case 0: do_leave(f, i); return 0;
	case 1: do_mark(f, i); return 0;
	default: return do_add(f, i);
	}
}

static void agrees_with_records_of_pages(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(seed);
		for (unsigned i = 0; i < 6000; i++) {
			assert_int_equal(random_step(), 0);
			compare();
		}
		world_end();
	}
}

/* The slab of nodes has `left` of them, and gets no frame; one frame for a page is to be had. */
static unsigned starve(void **held, unsigned most, unsigned left)
{
	void *spare[8];
	unsigned n = 0;

	for (unsigned i = 0; i < left; i++)
		spare[i] = kmem_cache_alloc(&w.cache.nodes);
	memory_exhaust(&w.mem);
	while (n < most && (held[n] = kmem_cache_alloc(&w.cache.nodes)) != NULL)
		n++;
	memory_restore(&w.mem);
	while (left-- > 0)
		kmem_cache_free(&w.cache.nodes, spare[left]);
	w.mem.phys.fail_nth = 2;
	w.mem.phys.fail_forever = true;
	return n;
}

static void without_memory_nothing_changes(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_make(100 + seed);
		for (unsigned i = 0; i < 4000; i++) {
			void *held[64];
			unsigned n = starve(held, 64, below(3));
			int err = random_step();

			while (n > 0)
				kmem_cache_free(&w.cache.nodes, held[--n]);
			memory_restore(&w.mem);
			assert_true(err == 0 || err == -ENOMEM);
			compare();
			if (below(50) == 0) {
				unsigned f = below(FILES);

				truncate_to(f, 0);
				truncate_to(f, pgoff_of(PAGES - 1) + 1);
			}
		}
		failures += w.without_node;
		world_end();
	}
	assert_true(failures > 100);
}

/* Reclaim evicts when there is no memory, and a fault that finds the shadow needs no node. */
static void evicting_needs_no_memory_and_a_shadow_keeps_the_place(void **state)
{
	struct frame *frame;
	int32_t shadow;

	(void)state;
	world_make(1);
	assert_int_equal(do_add(0, 70), 0);
	frame = w.page[0][70].frame;
	memory_exhaust(&w.mem);
	pagecache_evict(frame, 65535);
	assert_int_equal(w.cache.nr_shadows, 1);
	assert_null(pagecache_get(&w.file[0], 70));
	assert_null(pagecache_next(&w.file[0], 0, UINT64_MAX));
	assert_int_equal(pagecache_add(&w.file[0], 70, frame, &shadow), 0);
	assert_int_equal(shadow, 65535);
	assert_int_equal(w.cache.nr_shadows, 0);
	memory_restore(&w.mem);
	compare();
	world_end();
}

/* It was locked when the file was cut; before the one who cuts comes again, reclaim takes it. */
static void a_page_beyond_the_end_leaves_no_shadow(void **state)
{
	struct page *p = &w.page[0][70];

	(void)state;
	world_make(1);
	assert_int_equal(do_add(0, 70), 0);
	p->frame->flags |= FRAME_LOCKED;
	p->locked = true;
	truncate_to(0, 10);
	assert_int_equal(w.file[0].nr_cached, 1);
	p->frame->flags &= (uint16_t)~FRAME_LOCKED;
	pagecache_evict(p->frame, 5);
	assert_int_equal(w.cache.nr_shadows, 0);
	frame_return(p->frame);
	page_clear(p);
	compare();
	world_end();
}

static void files_with_dirty_pages_are_listed_oldest_first(void **state)
{
	(void)state;
	world_make(1);
	for (unsigned f = 0; f < FILES; f++) {
		assert_int_equal(do_add(f, 1), 0);
		assert_int_equal(do_add(f, 2), 0);
	}
	pagecache_set_dirty(w.page[2][1].frame);
	pagecache_set_dirty(w.page[0][1].frame);
	pagecache_set_dirty(w.page[2][2].frame);
	assert_ptr_equal(TAILQ_FIRST(&w.cache.dirty), &w.file[2]);
	pagecache_clear_dirty(w.page[2][1].frame);
	assert_ptr_equal(TAILQ_FIRST(&w.cache.dirty), &w.file[2]);
	pagecache_start_writeback(w.page[2][2].frame);
	assert_ptr_equal(TAILQ_FIRST(&w.cache.dirty), &w.file[0]);
	/* Written to while it is being written: both. */
	assert_true(pagecache_set_dirty(w.page[2][2].frame));
	assert_ptr_equal(TAILQ_LAST(&w.cache.dirty, vm_file_list), &w.file[2]);
	assert_int_equal(w.cache.nr_dirty, 2);
	assert_int_equal(w.cache.nr_writeback, 1);
	assert_ptr_equal(pagecache_next_tagged(&w.file[2], 0, UINT64_MAX, PAGECACHE_WRITEBACK), w.page[2][2].frame);
	pagecache_check(&w.cache);
	pagecache_end_writeback(w.page[2][2].frame);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_records_of_pages),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(evicting_needs_no_memory_and_a_shadow_keeps_the_place),
		cmocka_unit_test(a_page_beyond_the_end_leaves_no_shadow),
		cmocka_unit_test(files_with_dirty_pages_are_listed_oldest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

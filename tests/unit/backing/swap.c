/*
 * mm/backing/swap.c against a plain array of pages: over a fake store, which
 * asserts the contract and refuses on demand, and over the real pool and file.
 */
#include <stdio.h>

#include "../memory.h"
#include "fakestore.h"
#include "mm/backing/swap.h"
#include "store/file.h"
#include "store/zpool.h"

#define FRAMES 1024
#define PAGES 160
#define VM_BYTES (2 * MIB)
#define REFUSED 0x2b161357ee1a2b16u /* the first word of pages that the first fake store does not take */

enum kind { KIND_SAME, KIND_SMALL, KIND_RANDOM, KINDS };

/* The oracle: one page, resident or in a store. */
struct page {
	uint8_t *want;      /* its content */
	uint8_t *read_once; /* resident and cached: the content as it was read */
	struct frame frame; /* resident: frame.swap is the cached copy */
	swp_t entry;        /* out */
	uint16_t uses;      /* out: entries that name it; 0: resident */
};

struct world {
	struct swap swap;
	struct memory mem;
	struct kmalloc kmalloc;
	struct vmalloc vmalloc;
	uint8_t *vm, *bytes, *work;
	struct fake_store *fake[2];
	struct zpool zpool;
	struct file_store file;
	void *file_memory;
	struct rand rand;
	bool locked;
	unsigned clean, same, nospace, cached;
	struct page page[PAGES];
};

static struct world *w;

static void lock(void *ctx)
{
	assert_ptr_equal(ctx, w);
	assert_false(w->locked);
	w->locked = true;
}

static void unlock(void *ctx)
{
	assert_ptr_equal(ctx, w);
	assert_true(w->locked);
	w->locked = false;
}

static uint64_t below(uint64_t n)
{
	return rand_below(&w->rand, n);
}

static void page_fill(struct page *p, enum kind kind)
{
	uint64_t *words = (uint64_t *)p->want, word = below(3) ? rand_u64(&w->rand) : 0;
	size_t random = kind == KIND_RANDOM ? PAGE_SIZE / 8 : below(200) + 1;

	for (size_t i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = kind == KIND_SAME ? word : i < random ? rand_u64(&w->rand) : i / 16;
	if (kind == KIND_RANDOM)
		words[0] = REFUSED;
}

static void world_make(uint64_t seed)
{
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	rand_seed(&w->rand, seed);
	w->locked = true;
	memory_make(&w->mem, FRAMES);
	w->vm = aligned_alloc(PAGE_SIZE, VM_BYTES);
	w->bytes = aligned_alloc(PAGE_SIZE, 2 * PAGES * PAGE_SIZE);
	assert_int_equal(kmalloc_init(&w->kmalloc, &w->mem.phys, 1), 0);
	uint64_t vm = (uint64_t)(uintptr_t)w->vm;
	assert_int_equal(vmalloc_init(&w->vmalloc, &w->mem.phys, &w->kmalloc, vm, vm + VM_BYTES), 0);
	w->vmalloc.depth = ALLOC_RESERVE;
	swap_init(&w->swap, &w->vmalloc);
	for (unsigned i = 0; i < PAGES; i++) {
		w->page[i].want = w->bytes + 2 * i * PAGE_SIZE;
		w->page[i].read_once = w->bytes + (2 * i + 1) * PAGE_SIZE;
		page_fill(&w->page[i], (enum kind)below(KINDS));
	}
}

/* Two fake stores: the first of memory's kind, the second of a file's. */
static void add_fakes(unsigned cells0, unsigned cells1, uint64_t slots_max0, bool keep0)
{
	w->fake[0] = fake_make(&w->locked, cells0, true, below(1000));
	w->fake[1] = fake_make(&w->locked, cells1, false, below(1000));
	w->fake[0]->refuse = REFUSED;
	assert_int_equal(swap_add_area(&w->swap, &w->fake[0]->store, 100, slots_max0, keep0), 0);
	assert_int_equal(swap_add_area(&w->swap, &w->fake[1]->store, 50, 0, true), 1);
}

static void add_real(void)
{
	size_t work = zpool_work_bytes(ZPOOL_LZ4), cap = PAGES / 4 * PAGE_SIZE;

	w->work = aligned_alloc(64, ALIGN_UP(work, 64));
	assert_int_equal(zpool_init(&w->zpool, &w->mem.phys, ZPOOL_LZ4, w->work, work), 0);
	w->zpool.store.max_frames = 24;
	w->file_memory = calloc(1, slots_bytes(cap));
	int fd = file_store_open("/tmp");
	assert_true(fd >= 0);
	assert_int_equal(file_store_init(&w->file, fd, 0, cap, w->file_memory, slots_bytes(cap)), 0);
	assert_int_equal(swap_add_area(&w->swap, &w->zpool.store, 100, 0, false), 0);
	assert_int_equal(swap_add_area(&w->swap, &w->file.slots.store, 50, 0, true), 1);
}

/* The laws, and the books of both sides compared. */
static void check(void)
{
	uint64_t used = 0;

	assert_true(w->locked);
	swap_check(&w->swap);
	for (unsigned i = 0; i < PAGES; i++) {
		const struct page *p = &w->page[i];
		bool cached = !swp_none(p->frame.swap);

		assert_false(cached && p->uses > 0);
		if (p->uses > 0) {
			assert_int_equal(swap_slot_of(&w->swap, p->entry)->uses, p->uses);
			assert_int_equal(swap_slot_of(&w->swap, p->entry)->flags & SLOT_CACHED, 0);
		}
		if (cached)
			assert_true(swap_slot_of(&w->swap, p->frame.swap)->flags & SLOT_CACHED);
		used += cached || p->uses > 0;
	}
	assert_int_equal(swap_used(&w->swap), used);
	if (w->work != NULL) {
		zpool_check(&w->zpool);
		slots_check(&w->file.slots);
	}
}

/* Writes out pages (different ones, resident). */
static void write_out(struct page **pages, unsigned n)
{
	struct swap_io io[STORE_BATCH];
	bool cached[STORE_BATCH];

	for (unsigned i = 0; i < n; i++) {
		io[i] = (struct swap_io){ .frame = &pages[i]->frame, .page = pages[i]->want };
		cached[i] = !swp_none(pages[i]->frame.swap);
	}
	unlock(w);
	swap_examine(&w->swap, io, n);
	lock(w);
	swap_write(&w->swap, io, n, lock, unlock, w);
	for (unsigned i = 0; i < n; i++) {
		struct page *p = pages[i];
		bool unchanged = cached[i] && memcmp(p->want, p->read_once, PAGE_SIZE) == 0;

		assert_int_equal(io[i].clean, unchanged);
		assert_true(swp_none(p->frame.swap));
		assert_int_equal(swp_none(io[i].entry), io[i].err != 0);
		w->clean += unchanged;
		w->same += io[i].same;
		if (io[i].err != 0) {
			assert_int_equal(io[i].err, -ENOSPC);
			w->nospace++;
			continue;
		}
		p->entry = io[i].entry;
		p->uses = 1;
	}
}

static int read_back(struct page **pages, unsigned n, struct swap_read *read)
{
	static uint8_t buffer[STORE_BATCH][PAGE_SIZE] __attribute__((aligned(4096)));
	int err = 0;

	for (unsigned i = 0; i < n; i++)
		read[i] = (struct swap_read){ .entry = pages[i]->entry, .page = buffer[i], .err = -1 };
	swap_read(&w->swap, read, n, lock, unlock, w);
	for (unsigned i = 0; i < n; i++) {
		if (read[i].err == 0)
			assert_memory_equal(buffer[i], pages[i]->want, PAGE_SIZE);
		else
			err = read[i].err;
	}
	return err;
}

/* The page is resident again; its slot is freed or becomes the cached copy. */
static void page_in(struct page *p)
{
	struct swap_read read;
	bool keep = w->swap.area[swp_area(p->entry)].keep;

	assert_int_equal(read_back(&p, 1, &read), 0);
	bool cached = swap_to_cache(&w->swap, p->entry, read.seal);
	assert_int_equal(cached, keep && p->uses == 1);
	if (cached) {
		p->frame.swap = p->entry;
		memcpy(p->read_once, p->want, PAGE_SIZE);
		w->cached++;
	}
	for (; !cached && p->uses > 0; p->uses--)
		swap_put(&w->swap, p->entry);
	p->uses = 0;
}

static void page_uncache(struct page *p)
{
	if (!swp_none(p->frame.swap))
		swap_uncache(&w->swap, p->frame.swap);
	p->frame.swap = (swp_t){ 0 };
}

static void world_drop(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		if (w->page[i].uses > 0)
			page_in(&w->page[i]);
		page_uncache(&w->page[i]);
		check();
	}
	assert_int_equal(swap_used(&w->swap), 0);
	for (unsigned i = 0; i < w->swap.nr_areas; i++)
		assert_int_equal(w->swap.area[i].store->stat.pages, 0);
	swap_destroy(&w->swap);
	vmalloc_destroy(&w->vmalloc);
	kmalloc_destroy(&w->kmalloc);
	if (w->work != NULL) {
		w->zpool.store.ops->destroy(&w->zpool.store);
		w->file.slots.store.ops->destroy(&w->file.slots.store);
	}
	memory_end(&w->mem);
	free(w->fake[0]);
	free(w->fake[1]);
	free(w->file_memory);
	free(w->work);
	free(w->bytes);
	free(w->vm);
	free(w);
}

/* Up to n different pages that are out (or resident), from a random one on. */
static unsigned pick(bool out, unsigned n, struct page **pages)
{
	unsigned from = (unsigned)below(PAGES), got = 0;

	for (unsigned i = 0; i < PAGES && got < n; i++) {
		struct page *p = &w->page[(from + i) % PAGES];

		if ((p->uses > 0) == out && below(3) != 0)
			pages[got++] = p;
	}
	return got;
}

static void random_step(void)
{
	struct page *pages[STORE_BATCH];
	struct swap_read read[STORE_BATCH];
	unsigned n;

	switch (below(12)) {
	case 0 ... 3:
		n = pick(false, 1 + (unsigned)below(STORE_BATCH), pages);
		for (unsigned i = 0; i < n; i++)
			if (below(2))
				page_fill(pages[i], (enum kind)below(KINDS));
		write_out(pages, n);
		break;
	case 4:
		n = pick(true, 1 + (unsigned)below(STORE_BATCH), pages);
		assert_int_equal(read_back(pages, n, read), 0);
		break;
	case 5 ... 7:
		n = pick(true, 1 + (unsigned)below(8), pages);
		for (unsigned i = 0; i < n; i++)
			page_in(pages[i]);
		break;
	case 8:
		for (n = pick(true, 4, pages); n > 0; n--) {
			assert_true(swap_dup(&w->swap, pages[n - 1]->entry));
			pages[n - 1]->uses++;
		}
		break;
	case 9:
		for (n = pick(true, 8, pages); n > 0; n--) {
			swap_put(&w->swap, pages[n - 1]->entry);
			pages[n - 1]->uses--;
		}
		break;
	case 10:
		for (n = pick(false, 8, pages); n > 0; n--)
			page_uncache(pages[n - 1]);
		break;
	default:
		for (unsigned i = 0; i < w->swap.nr_areas; i++) {
			struct store *s = w->swap.area[i].store;

			if (s->ops->shrink != NULL)
				s->ops->shrink(s);
		}
	}
}

static void random_use_of_fake_stores(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 6; seed++) {
		world_make(seed);
		add_fakes(20 + 20 * seed, 30, seed % 2 ? 25 : 0, seed >= 3);
		for (unsigned i = 0; i < 2; i++) {
			w->fake[i]->commit_fails = 10;
			w->fake[i]->write_fails = 10;
		}
		for (unsigned i = 0; i < 1500; i++) {
			random_step();
			check();
		}
		assert_true(w->clean > 20 && w->same > 100 && w->nospace > 20 && w->cached > 20);
		assert_true(w->fake[0]->moves > 20);
		world_drop();
	}
}

static void random_use_of_pool_and_file(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 2; seed++) {
		world_make(100 + seed);
		add_real();
		for (unsigned i = 0; i < 1500; i++) {
			random_step();
			check();
			w->zpool.store.max_frames = below(24);
		}
		assert_true(w->clean > 20 && w->same > 100 && w->nospace > 50 && w->cached > 100);
		world_drop();
	}
}

static void out_page(struct page *p, enum kind kind)
{
	page_fill(p, kind);
	write_out(&p, 1);
	check();
}

static void what_one_area_refuses_goes_to_the_next(void **state)
{
	struct page *p;

	(void)state;
	world_make(1);
	add_fakes(4, 3, 0, false);
	p = w->page;
	out_page(&p[0], KIND_SMALL);
	assert_int_equal(swp_area(p[0].entry), 0);
	/* -E2BIG */
	out_page(&p[1], KIND_RANDOM);
	assert_int_equal(swp_area(p[1].entry), 1);
	/* No room left in the first; then -ENOSPC in both. */
	for (unsigned i = 2; i < 7; i++)
		out_page(&p[i], KIND_SMALL);
	assert_int_equal(swp_area(p[4].entry), 0);
	assert_int_equal(swp_area(p[5].entry), 1);
	assert_true(w->swap.area[0].full && !w->swap.area[1].full);
	out_page(&p[7], KIND_SMALL);
	assert_int_equal(p[7].uses, 0);
	assert_int_equal(w->nospace, 1);
	assert_true(w->swap.area[0].full && w->swap.area[1].full);
	/* Repeated words need no store. */
	out_page(&p[8], KIND_SAME);
	assert_int_equal(p[8].uses, 1);
	/* A passing -ENOMEM of commit concerns one page only; the area is not full. */
	page_in(&p[0]);
	assert_false(w->swap.area[0].full);
	w->fake[0]->commit_fails = 1;
	page_in(&p[5]);
	page_uncache(&p[5]);
	out_page(&p[5], KIND_SMALL);
	assert_int_equal(swp_area(p[5].entry), 1);
	assert_false(w->swap.area[0].full);
	w->fake[0]->commit_fails = 0;
	out_page(&p[0], KIND_SMALL);
	assert_int_equal(swp_area(p[0].entry), 0);
	world_drop();
}

static void a_crowded_area_comes_after_all_others(void **state)
{
	struct page *p;

	(void)state;
	world_make(16);
	add_fakes(4, 2, 0, false);
	p = w->page;
	out_page(&p[0], KIND_SMALL);
	assert_int_equal(swp_area(p[0].entry), 0);
	w->fake[0]->store.stat.frames = 1;
	for (unsigned i = 1; i < 3; i++) {
		out_page(&p[i], KIND_SMALL);
		assert_int_equal(swp_area(p[i].entry), 1);
		/* Reclaim writes in batches for a disk then. */
		assert_true(w->swap.area[0].full);
	}
	/* The other one is full: better there than nowhere. */
	out_page(&p[3], KIND_SMALL);
	assert_int_equal(swp_area(p[3].entry), 0);
	w->fake[0]->store.stat.frames = 0;
	out_page(&p[4], KIND_SMALL);
	assert_int_equal(swp_area(p[4].entry), 0);
	world_drop();
}

static void areas_of_the_same_priority_take_batches_in_turn(void **state)
{
	const int prio[] = { 7, 5, 5, 5, 1 };
	struct fake_store *fake[ARRAY_SIZE(prio)];
	struct page *p;

	(void)state;
	world_make(17);
	for (unsigned i = 0; i < ARRAY_SIZE(prio); i++) {
		fake[i] = fake_make(&w->locked, i == 0 ? 2 : 10, false, i);
		assert_int_equal(swap_add_area(&w->swap, &fake[i]->store, prio[i], 0, false), (int)i);
	}
	p = w->page;
	/* The first takes what it can, then each of the equal ones a batch. */
	for (unsigned i = 0; i < 2; i++) {
		out_page(&p[i], KIND_SMALL);
		assert_int_equal(swp_area(p[i].entry), 0);
	}
	for (unsigned i = 2; i < 32; i++)
		out_page(&p[i], KIND_SMALL);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(fake[i]->store.stat.pages, 10);
	for (unsigned i = 2; i < 29; i++)
		assert_int_not_equal(swp_area(p[i].entry), swp_area(p[i + 1].entry));
	/* Only when all of them are full the last. */
	assert_int_equal(fake[4]->store.stat.pages, 0);
	assert_false(swap_has_room(&w->swap, 1));
	assert_true(swap_has_room(&w->swap, 5));
	out_page(&p[32], KIND_SMALL);
	assert_int_equal(swp_area(p[32].entry), 4);
	world_drop();
	for (unsigned i = 0; i < ARRAY_SIZE(prio); i++)
		free(fake[i]);
}

static void the_slot_limit_of_an_area_sends_repeated_words_to_the_next(void **state)
{
	(void)state;
	world_make(2);
	add_fakes(100, 100, 3, false);
	for (unsigned i = 0; i < 6; i++) {
		out_page(&w->page[i], i % 2 ? KIND_SAME : KIND_SMALL);
		assert_int_equal(w->page[i].uses, 1);
		assert_int_equal(swp_area(w->page[i].entry), i < 3 ? 0 : 1);
	}
	assert_int_equal(w->swap.area[1].nr_same, 2);
	world_drop();
}

static void other_bytes_from_the_store_are_an_error(void **state)
{
	struct swap_read read;

	(void)state;
	for (unsigned area = 0; area < 2; area++) {
		world_make(3);
		add_fakes(50, 50, 0, false);
		struct page *p = &w->page[7];

		out_page(p, area == 0 ? KIND_SMALL : KIND_RANDOM);
		assert_int_equal(swp_area(p->entry), area);
		for (unsigned i = 0; i < 200; i++) {
			struct fake_cell *c = fake_cell(w->fake[area], swap_slot_of(&w->swap, p->entry)->handle);
			size_t at = below(PAGE_SIZE);
			uint8_t flip = (uint8_t)(1u << below(8));

			c->page[at] ^= flip;
			assert_int_equal(read_back(&p, 1, &read), -EBADMSG);
			c->page[at] ^= flip;
			assert_int_equal(read_back(&p, 1, &read), 0);
			check();
		}
		w->fake[area]->read_fails = 1;
		assert_int_equal(read_back(&p, 1, &read), -EIO);
		w->fake[area]->read_fails = 0;
		world_drop();
	}
}

static void one_bad_page_of_a_batch_leaves_the_others(void **state)
{
	struct page *pages[10];
	struct swap_read read[10];

	(void)state;
	world_make(4);
	add_fakes(50, 50, 0, false);
	for (unsigned i = 0; i < 10; i++) {
		pages[i] = &w->page[i];
		out_page(pages[i], i == 4 ? KIND_SAME : i % 3 ? KIND_SMALL : KIND_RANDOM);
	}
	fake_cell(w->fake[0], swap_slot_of(&w->swap, pages[5]->entry)->handle)->page[77] ^= 4;
	assert_int_equal(read_back(pages, 10, read), -EBADMSG);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(read[i].err, i == 5 ? -EBADMSG : 0);
	fake_cell(w->fake[0], swap_slot_of(&w->swap, pages[5]->entry)->handle)->page[77] ^= 4;
	world_drop();
}

static unsigned waited[SWAP_TRIES + 1];

static void count_wait(unsigned try)
{
	assert_true(try >= 1 && try < SWAP_TRIES && !w->locked);
	waited[try]++;
}

static void what_fails_is_tried_again(void **state)
{
	struct page *pages[5];
	struct swap_read read[5];

	(void)state;
	world_make(18);
	add_fakes(50, 50, 0, false);
	w->swap.wait = count_wait;
	for (unsigned fails = 0; fails < SWAP_TRIES; fails++) {
		memset(waited, 0, sizeof(waited));
		for (unsigned i = 0; i < 5; i++) {
			pages[i] = &w->page[5 * fails + i];
			page_fill(pages[i], KIND_RANDOM);
		}
		w->fake[1]->next_writes = fails;
		write_out(pages, 5);
		check();
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(swp_area(pages[i]->entry), 1);
		w->fake[1]->next_reads = fails;
		assert_int_equal(read_back(pages, 5, read), 0);
		check();
		/* Once for each try, in order: a write, and a read. */
		for (unsigned try = 1; try < SWAP_TRIES; try++)
			assert_int_equal(waited[try], try <= fails ? 2 : 0);
		assert_int_equal(w->swap.area[1].state, SWAP_AREA_TAKES);
	}
	/* Memory is not waited for. */
	memset(waited, 0, sizeof(waited));
	out_page(&w->page[40], KIND_SMALL);
	pages[0] = &w->page[40];
	w->fake[0]->next_reads = 1;
	assert_int_equal(read_back(pages, 1, read), -EIO);
	assert_int_equal(waited[1], 0);
	world_drop();
}

static void an_area_whose_writes_fail_takes_no_more(void **state)
{
	struct page *p;

	(void)state;
	world_make(19);
	add_fakes(50, 50, 0, false);
	p = w->page;
	out_page(&p[0], KIND_SMALL);
	w->fake[0]->next_writes = SWAP_TRIES;
	/* It goes elsewhere, and so does the next one without a try; what was there can be read. */
	for (unsigned i = 1; i < 3; i++) {
		out_page(&p[i], KIND_SMALL);
		assert_int_equal(swp_area(p[i].entry), 1);
		assert_int_equal(w->swap.area[0].state, SWAP_AREA_FAILING);
	}
	assert_int_equal(w->fake[0]->next_writes, 0);
	assert_true(swap_has_room(&w->swap, SWAP_PRIO_ALL));
	page_in(&p[0]);
	/* With nowhere else to go the page stays. */
	w->fake[1]->next_writes = SWAP_TRIES;
	out_page(&p[3], KIND_SMALL);
	assert_int_equal(p[3].uses, 0);
	assert_false(swap_has_room(&w->swap, SWAP_PRIO_ALL));
	/* Repeated words need no writes. */
	out_page(&p[4], KIND_SAME);
	assert_int_equal(p[4].uses, 1);
	swap_try_again(&w->swap);
	out_page(&p[3], KIND_SMALL);
	assert_int_equal(swp_area(p[3].entry), 0);
	world_drop();
}

static void an_area_whose_reads_fail_is_dead(void **state)
{
	struct page *p;
	struct swap_read read;

	(void)state;
	world_make(20);
	add_fakes(0, 50, 0, false);
	p = w->page;
	out_page(p, KIND_RANDOM);
	w->fake[1]->next_reads = SWAP_TRIES;
	assert_true(read_back(&p, 1, &read) != 0);
	assert_int_equal(w->swap.area[1].state, SWAP_AREA_DEAD);
	assert_int_equal(swap_slot_of(&w->swap, p->entry)->flags & SLOT_READING, 0);
	check();
	/* Whoever asks once more may have better luck. */
	assert_int_equal(read_back(&p, 1, &read), 0);
	world_drop();
}

static void an_unchanged_page_leaves_without_a_write(void **state)
{
	(void)state;
	world_make(5);
	add_fakes(50, 50, 0, false);
	struct page *p = &w->page[0];

	out_page(p, KIND_RANDOM);
	swp_t entry = p->entry;

	page_in(p);
	assert_int_equal(p->frame.swap.v, entry.v);
	check();
	/* No store would take it: only the copy can. */
	w->fake[0]->cells = w->fake[1]->cells = 0;
	write_out(&p, 1);
	assert_int_equal(p->entry.v, entry.v);
	assert_int_equal(w->clean, 1);
	check();
	page_in(p);
	p->want[100] ^= 1;
	write_out(&p, 1);
	assert_int_equal(p->uses, 0);
	assert_int_equal(w->nospace, 1);
	assert_int_equal(swap_used(&w->swap), 0);
	world_drop();
}

/* Two pages with the same checksum are not told apart by it: the seal must. */
static void an_equal_checksum_alone_does_not_make_a_page_unchanged(void **state)
{
	struct swap_io io;

	(void)state;
	world_make(6);
	add_fakes(50, 50, 0, false);
	struct page *p = &w->page[0];

	out_page(p, KIND_RANDOM);
	page_in(p);
	p->want[5] ^= 1;
	io = (struct swap_io){ .frame = &p->frame, .page = p->want };
	swap_examine(&w->swap, &io, 1);
	assert_false(io.clean);
	swap_slot_of(&w->swap, p->frame.swap)->sum = io.sum;
	swap_examine(&w->swap, &io, 1);
	assert_false(io.clean);
	world_drop();
}

static void a_full_use_count_is_refused(void **state)
{
	(void)state;
	world_make(7);
	add_fakes(50, 50, 0, false);
	struct page *p = &w->page[0];

	out_page(p, KIND_SMALL);
	while (p->uses < UINT16_MAX) {
		assert_true(swap_dup(&w->swap, p->entry));
		p->uses++;
	}
	assert_false(swap_dup(&w->swap, p->entry));
	check();
	world_drop();
}

/* The first page out needs a slot table: 16 frames, their table and an area. */
static void without_memory_for_slots_nothing_changes(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (unsigned forever = 0; forever < 2; forever++) {
		world_make(8);
		add_fakes(50, 50, 0, false);
		struct page *p = &w->page[0];

		page_fill(p, KIND_SMALL);
		for (uint64_t nth = 1; p->uses == 0; nth++) {
			uint64_t pages = w->vmalloc.nr_pages;

			w->mem.phys.fail_nth = nth;
			w->mem.phys.fail_forever = forever;
			write_out(&p, 1);
			w->mem.phys.fail_nth = 0;
			w->mem.phys.fail_forever = false;
			check();
			vmalloc_check(&w->vmalloc);
			assert_true(p->uses > 0 || w->vmalloc.nr_pages == pages);
			failures += p->uses == 0;
			/* A single failure: the other area may have got its table instead. */
			if (p->uses > 0 && !forever && swp_area(p->entry) == 1) {
				page_in(p);
				page_uncache(p);
				break;
			}
		}
		world_drop();
	}
	assert_true(failures > 15);
}

static int write_repeated(uint64_t n, swp_t *entry)
{
	struct swap_io io = { .frame = &w->page[0].frame, .page = w->page[0].want };

	memset(w->page[0].want, (int)n & 0xff, PAGE_SIZE);
	swap_examine(&w->swap, &io, 1);
	swap_write(&w->swap, &io, 1, lock, unlock, w);
	*entry = io.entry;
	return io.err;
}

/* Repeated words, which need a slot and nothing else. */
static void slots_are_made_while_there_are_frames(void **state)
{
	static swp_t entry[2 * SLOTS_PER_CHUNK];
	struct frame *taken[FRAMES];
	unsigned nr_taken = 0;
	uint64_t n = 0;
	swp_t none;

	(void)state;
	world_make(10);
	add_fakes(50, 50, 0, false);
	assert_int_equal(swap_prepare(&w->swap, 0), 0);
	assert_int_equal(swap_prepare(&w->swap, 0), 0);
	assert_int_equal(w->swap.area[0].nr_slots, SLOTS_PER_CHUNK);
	/* Without a single frame, to the last slot. */
	while ((taken[nr_taken] = frame_alloc(&w->mem.phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE)) != NULL)
		nr_taken++;
	for (; n < SLOTS_PER_CHUNK - 1; n++)
		assert_int_equal(write_repeated(n, &entry[n]), 0);
	assert_int_equal(write_repeated(n, &none), -ENOSPC);
	while (nr_taken > 0)
		frame_free(&w->mem.phys, taken[--nr_taken], 0);
	/* With frames they never become few. */
	for (; n < ARRAY_SIZE(entry); n++) {
		assert_int_equal(write_repeated(n, &entry[n]), 0);
		assert_true(w->swap.area[0].nr_slots - 1 - w->swap.area[0].nr_used >= SLOTS_PER_CHUNK / 8);
	}
	while (n-- > 0)
		swap_put(&w->swap, entry[n]);
	world_drop();
}

static void slots_beyond_the_first_table_work_as_well(void **state)
{
	static swp_t entry[3 * SLOTS_PER_CHUNK];
	uint64_t n = 0;

	(void)state;
	world_make(9);
	add_fakes(50, 50, 2 * SLOTS_PER_CHUNK + 10, false);
	for (; n < ARRAY_SIZE(entry); n++)
		assert_int_equal(write_repeated(n, &entry[n]), 0);
	swap_check(&w->swap);
	assert_int_equal(w->swap.area[0].nr_used, 2 * SLOTS_PER_CHUNK + 10);
	while (n-- > 0) {
		struct swap_read read = { .entry = entry[n], .page = w->page[0].want };

		if (n % 16 == 0) {
			swap_read(&w->swap, &read, 1, lock, unlock, w);
			assert_int_equal(read.err, 0);
			assert_int_equal(w->page[0].want[n % PAGE_SIZE], n & 0xff);
		}
		swap_put(&w->swap, entry[n]);
	}
	world_drop();
}

static swp_t write_one(struct page *p)
{
	struct swap_io io = { .frame = &p->frame, .page = p->want };

	page_fill(p, KIND_SMALL);
	swap_examine(&w->swap, &io, 1);
	swap_write(&w->swap, &io, 1, lock, unlock, w);
	assert_int_equal(io.err, 0);
	assert_int_equal(swp_area(io.entry), 0);
	return io.entry;
}

static void read_one(struct page *p, swp_t entry)
{
	struct swap_read read = { .page = p->read_once, .entry = entry };

	swap_read(&w->swap, &read, 1, lock, unlock, w);
	assert_int_equal(read.err, 0);
	assert_memory_equal(read.page, p->want, PAGE_SIZE);
	swap_put(&w->swap, entry);
}

/* 512 GiB, of which the first 256 are taken: as if, because their slots alone would be 1 GiB. */
static void large_areas_are_used_to_their_end(void **state)
{
	const uint64_t taken = 256 * GIB / PAGE_SIZE;
	struct swap_area *a;
	uint64_t free_head;
	swp_t low, high;

	(void)state;
	world_make(12);
	add_fakes(50, 50, 512 * GIB / PAGE_SIZE, false);
	a = &w->swap.area[0];
	low = write_one(&w->page[0]);
	assert_int_equal(a->nr_slots, SLOTS_PER_CHUNK);
	free_head = a->free_head;
	a->nr_slots = taken;
	a->free_head = 0;
	high = write_one(&w->page[1]);
	assert_int_equal(swp_slot(high), taken);
	read_one(&w->page[1], high);
	vfree(&w->vmalloc, (uint64_t)(uintptr_t)a->chunk[taken / SLOTS_PER_CHUNK]);
	a->nr_slots = SLOTS_PER_CHUNK;
	a->free_head = free_head;
	read_one(&w->page[0], low);
	world_drop();
}

static void there_is_room_for_four_areas(void **state)
{
	struct fake_store *fake[SWAP_AREAS + 1];

	(void)state;
	world_make(10);
	for (unsigned i = 0; i <= SWAP_AREAS; i++) {
		fake[i] = fake_make(&w->locked, 2, true, i);
		assert_int_equal(swap_add_area(&w->swap, &fake[i]->store, 10 - (int)i, 0, false),
				 i < SWAP_AREAS ? (int)i : -ENOSPC);
	}
	for (unsigned i = 0; i < 2 * SWAP_AREAS; i++) {
		out_page(&w->page[i], KIND_SMALL);
		assert_int_equal(swp_area(w->page[i].entry), i / 2);
	}
	out_page(&w->page[20], KIND_SMALL);
	assert_int_equal(w->nospace, 1);
	world_drop();
	for (unsigned i = 0; i <= SWAP_AREAS; i++)
		free(fake[i]);
}

static void without_an_area_nothing_goes_out(void **state)
{
	(void)state;
	world_make(11);
	out_page(&w->page[0], KIND_SMALL);
	out_page(&w->page[1], KIND_SAME);
	assert_int_equal(w->nospace, 2);
	world_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_use_of_fake_stores),
		cmocka_unit_test(random_use_of_pool_and_file),
		cmocka_unit_test(what_one_area_refuses_goes_to_the_next),
		cmocka_unit_test(a_crowded_area_comes_after_all_others),
		cmocka_unit_test(areas_of_the_same_priority_take_batches_in_turn),
		cmocka_unit_test(the_slot_limit_of_an_area_sends_repeated_words_to_the_next),
		cmocka_unit_test(other_bytes_from_the_store_are_an_error),
		cmocka_unit_test(one_bad_page_of_a_batch_leaves_the_others),
		cmocka_unit_test(what_fails_is_tried_again),
		cmocka_unit_test(an_area_whose_writes_fail_takes_no_more),
		cmocka_unit_test(an_area_whose_reads_fail_is_dead),
		cmocka_unit_test(an_unchanged_page_leaves_without_a_write),
		cmocka_unit_test(an_equal_checksum_alone_does_not_make_a_page_unchanged),
		cmocka_unit_test(a_full_use_count_is_refused),
		cmocka_unit_test(without_memory_for_slots_nothing_changes),
		cmocka_unit_test(slots_are_made_while_there_are_frames),
		cmocka_unit_test(slots_beyond_the_first_table_work_as_well),
		cmocka_unit_test(large_areas_are_used_to_their_end),
		cmocka_unit_test(there_is_room_for_four_areas),
		cmocka_unit_test(without_an_area_nothing_goes_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

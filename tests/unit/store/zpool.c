/* store/zpool against a plain array of pages, on a small machine. */
#include <errno.h>

#include "../memory.h"
#include "base/assert.h"
#include "keys.h"
#include "store/zpool.h"

#define FRAMES 2048
#define KEYS 1500

struct world {
	struct memory mem;
	struct zpool z;
	struct keys k;
	void *work;
	unsigned moves;
};

static void moved(void *ctx, uint64_t owner, uint64_t handle)
{
	struct world *w = ctx;
	uint64_t key = swp_slot((swp_t){ owner }) - 1;

	ASSERT(key < KEYS && w->k.stored[key] && swp_area((swp_t){ owner }) == 22);
	w->k.handle[key] = handle;
	w->moves++;
}

static uint64_t owner_of(unsigned key)
{
	return swp_make(22, key + 1).v;
}

static struct world *world_make(enum zpool_codec codec, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	size_t n = zpool_work_bytes(codec);

	keys_make(&w->k, &w->z.store, KEYS, seed);
	memory_make(&w->mem, FRAMES);
	w->work = aligned_alloc(64, ALIGN_UP(n, 64));
	assert_int_equal(zpool_init(&w->z, &w->mem.phys, codec, w->work, n), 0);
	w->z.store.moved = moved;
	w->z.store.moved_ctx = w;
	return w;
}

static void check(const struct world *w)
{
	zpool_check(&w->z);
	assert_int_equal(w->z.store.stat.pages, keys_stored(&w->k));
	assert_int_equal(w->mem.free_at_start - phys_free_frames(&w->mem.phys, 0), w->z.store.stat.frames);
}

static void world_drop(struct world *w)
{
	keys_free_all(&w->k);
	check(w);
	assert_int_equal(w->z.store.stat.frames, 0);
	assert_int_equal(w->z.store.stat.bytes, 0);
	w->z.store.ops->destroy(&w->z.store);
	memory_end(&w->mem);
	free(w->work);
	keys_drop(&w->k);
	free(w);
}

/* Writes a batch of keys through the whole protocol; returns how many were stored. */
static unsigned batch_write(struct world *w, const unsigned *keys, unsigned n)
{
	struct store *s = &w->z.store;
	struct store_io io[STORE_BATCH];
	unsigned stored = 0;

	for (unsigned i = 0; i < n; i++)
		io[i] = (struct store_io){ .page = w->k.want[keys[i]], .owner = owner_of(keys[i]) };
	unsigned got = s->ops->reserve(s, io, n);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(io[i].err, i < got ? 0 : -ENOSPC);
	s->ops->write(s, io, got);
	for (unsigned i = 0; i < got; i++) {
		if (io[i].err != 0 || rand_below(&w->k.r, 16) == 0) {
			s->ops->abort(s, &io[i]);
			continue;
		}
		assert_true(io[i].bytes > 8 && io[i].bytes <= ZPOOL_OBJECT_MAX);
		s->ops->commit(s, &io[i]);
		if (io[i].err != 0) {
			assert_true(io[i].err == -ENOSPC || io[i].err == -ENOMEM);
			s->ops->abort(s, &io[i]);
			continue;
		}
		assert_true(io[i].handle < (uint64_t)1 << 56);
		w->k.handle[keys[i]] = io[i].handle;
		w->k.stored[keys[i]] = true;
		stored++;
	}
	return stored;
}

/* Stores every key, with random parts of 0 to most - 1 bytes. */
static void fill(struct world *w, unsigned most)
{
	for (unsigned key = 0; key < KEYS; key++) {
		page_make(&w->k.r, w->k.want[key], rand_below(&w->k.r, most));
		while (!w->k.stored[key] && batch_write(w, &key, 1) == 0)
			;
	}
}

static void random_step(struct world *w)
{
	unsigned keys[STORE_BATCH], n;

	switch (rand_below(&w->k.r, 16)) {
	case 0 ... 4:
		n = keys_pick(&w->k, false, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys);
		for (unsigned i = 0; i < n; i++)
			page_make(&w->k.r, w->k.want[keys[i]], rand_below(&w->k.r, PAGE_SIZE));
		batch_write(w, keys, n);
		break;
	case 5 ... 9:
		keys_read(&w->k, keys, keys_pick(&w->k, true, STORE_BATCH, keys));
		break;
	case 10 ... 13:
		n = keys_pick(&w->k, true, 1 + (unsigned)rand_below(&w->k.r, 40) % STORE_BATCH, keys);
		for (unsigned i = 0; i < n; i++)
			keys_free(&w->k, keys[i]);
		break;
	case 14: {
		uint64_t before = w->z.store.stat.frames, back = w->z.store.ops->shrink(&w->z.store);

		assert_int_equal(back, before - w->z.store.stat.frames);
		break;
	}
	default:
		w->z.store.max_frames = rand_below(&w->k.r, 2) ? UINT64_MAX : rand_below(&w->k.r, 400);
	}
}

static void random_use_returns_what_was_written(void **state)
{
	(void)state;
	for (unsigned codec = 0; codec < 2; codec++) {
		struct world *w = world_make(codec, 100 + codec);

		for (unsigned i = 0; i < 1500; i++) {
			random_step(w);
			check(w);
			if (i % 100 == 0)
				phys_check(&w->mem.phys);
		}
		assert_true(w->moves > 0 && w->z.store.stat.rejected > 0);
		world_drop(w);
	}
}

static void shrink_packs_objects_and_tells_their_owners(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 3);

	fill(w, 2600);
	uint64_t full = w->z.store.stat.frames;

	for (unsigned i = 0; i < KEYS; i++) {
		if (rand_below(&w->k.r, 4) != 0)
			keys_free(&w->k, i);
	}
	uint64_t sparse = w->z.store.stat.frames, back = 0, n;

	while ((n = w->z.store.ops->shrink(&w->z.store)) != 0) {
		back += n;
		check(w);
	}
	assert_int_equal(sparse - back, w->z.store.stat.frames);
	assert_true(w->moves > 50);
	/* A quarter of the objects is left: they fit in a third of the frames and a block a class. */
	assert_true(w->z.store.stat.frames < full / 3 + w->z.nr_classes);
	for (unsigned i = 0; i < KEYS; i++) {
		if (w->k.stored[i])
			keys_read(&w->k, &i, 1);
	}
	world_drop(w);
}

static void shrink_does_nothing_when_nobody_would_hear_of_it(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 4);

	fill(w, 2600);
	for (unsigned i = 0; i < KEYS; i += 2)
		keys_free(&w->k, i);
	w->z.store.moved = NULL;
	assert_int_equal(w->z.store.ops->shrink(&w->z.store), 0);
	world_drop(w);
}

static void packing_loses_little(void **state)
{
	(void)state;
	for (unsigned codec = 0; codec < 2; codec++) {
		struct world *w = world_make(codec, 5);

		fill(w, 2800);
		uint64_t frames = w->z.store.stat.frames, least = w->z.store.stat.bytes / PAGE_SIZE;

		assert_true(frames < KEYS / 2);
		assert_true(frames <= least + least / 12 + w->z.nr_classes * 2);
		world_drop(w);
	}
}

static void incompressible_pages_are_refused(void **state)
{
	(void)state;
	for (unsigned codec = 0; codec < 2; codec++) {
		struct world *w = world_make(codec, 6);
		unsigned key = 0;

		page_make(&w->k.r, w->k.want[key], PAGE_SIZE);
		assert_int_equal(batch_write(w, &key, 1), 0);
		assert_int_equal(w->z.store.stat.rejected, 1);
		check(w);
		world_drop(w);
	}
}

static void corrupt_objects_give_eio(void **state)
{
	(void)state;
	for (unsigned codec = 0; codec < 2; codec++) {
		struct world *w = world_make(codec, 7);
		struct store *s = &w->z.store;

		fill(w, 2600);
		for (unsigned i = 0; i < KEYS; i++) {
			unsigned index = w->k.handle[i] & 0xff;
			struct frame *head = pfn_frame(&w->mem.phys, (pfn_t){ (uint32_t)(w->k.handle[i] >> 8) });
			struct zclass *c = &w->z.classes[((uint8_t *)head->private)[12]];
			size_t offset = (size_t)index * c->size;
			struct store_io io = { .page = w->k.buf, .handle = w->k.handle[i] };
			uint64_t *header = (uint64_t *)((uint8_t *)frame_home(&w->mem.phys, head) + offset), good;

			/* The test reaches only objects that begin in the first frame. */
			if (offset + 64 > PAGE_SIZE)
				continue;
			good = *header;
			*header |= 0xfff;
			s->ops->read(s, &io, 1);
			assert_int_equal(io.err, -EIO);
			*header = good;
			memset(header + 1, 0xff, 24);
			s->ops->read(s, &io, 1);
			assert_int_equal(io.err, -EIO);
		}
		assert_true(s->stat.errors > 200);
		world_drop(w);
	}
}

static void commit_respects_max_frames(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 8);
	struct store *s = &w->z.store;
	unsigned stored = 0, failures = 0;

	w->z.store.max_frames = 20;
	for (unsigned key = 0; key < KEYS; key++) {
		page_make(&w->k.r, w->k.want[key], rand_below(&w->k.r, 2600));
		stored += batch_write(w, &key, 1);
		failures += !w->k.stored[key];
		assert_true(s->stat.frames <= 20);
	}
	assert_true(stored > 30 && failures > 1000);
	check(w);

	/* A pool above its limit keeps what it has and takes no frame more. */
	uint64_t frames = s->stat.frames;

	w->z.store.max_frames = 0;
	for (unsigned key = 0; key < KEYS; key++) {
		if (!w->k.stored[key])
			batch_write(w, &key, 1);
	}
	assert_int_equal(s->stat.frames, frames);
	for (unsigned key = 0; key < KEYS; key++) {
		if (w->k.stored[key])
			keys_free(&w->k, key);
	}
	struct store_io io = { .page = w->k.want[0] };

	assert_int_equal(s->ops->reserve(s, &io, 1), 0);
	assert_int_equal(io.err, -ENOSPC);
	w->z.store.max_frames = UINT64_MAX;
	fill(w, 2600);
	check(w);
	world_drop(w);
}

static void a_failed_allocation_changes_nothing(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 9);
	struct store *s = &w->z.store;
	unsigned failures = 0;

	for (unsigned key = 0; key < KEYS; key++) {
		struct store_io io = { .page = w->k.want[key], .owner = owner_of(key) };

		page_make(&w->k.r, w->k.want[key], rand_below(&w->k.r, 2600));
		assert_int_equal(s->ops->reserve(s, &io, 1), 1);
		s->ops->write(s, &io, 1);
		assert_int_equal(io.err, 0);
		for (unsigned nth = 1;; nth++) {
			struct store_stat before = s->stat;
			uint32_t free_frames = phys_free_frames(&w->mem.phys, 0);

			w->mem.phys.fail_nth = nth;
			w->mem.phys.fail_forever = rand_below(&w->k.r, 2) != 0;
			s->ops->commit(s, &io);
			w->mem.phys.fail_nth = 0;
			w->mem.phys.fail_forever = false;
			if (io.err == 0)
				break;
			assert_int_equal(io.err, -ENOMEM);
			assert_memory_equal(&before, &s->stat, sizeof(before));
			assert_int_equal(free_frames, phys_free_frames(&w->mem.phys, 0));
			failures++;
			io.err = 0;
			check(w);
		}
		w->k.handle[key] = io.handle;
		w->k.stored[key] = true;
		keys_read(&w->k, &key, 1);
	}
	check(w);
	assert_true(failures > 20);
	world_drop(w);
}

static void the_last_frames_take_objects_of_smaller_classes(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 10);
	unsigned keys[2] = { 0, 1 };

	page_make(&w->k.r, w->k.want[0], 1900);
	page_make(&w->k.r, w->k.want[1], 300);
	while (batch_write(w, &keys[0], 1) == 0)
		;
	w->z.store.max_frames = w->z.store.stat.frames;
	while (batch_write(w, &keys[1], 1) == 0)
		assert_true(w->z.store.stat.frames <= w->z.store.max_frames);
	keys_read(&w->k, keys, 2);
	check(w);
	world_drop(w);
}

static void an_empty_block_is_freed_at_once(void **state)
{
	(void)state;
	struct world *w = world_make(ZPOOL_LZ4, 11);

	fill(w, 2600);
	for (unsigned i = 0; i < KEYS; i++) {
		keys_free(&w->k, i);
		check(w);
	}
	assert_int_equal(w->z.store.stat.frames, 0);
	world_drop(w);
}

static void init_refuses_too_little_memory(void **state)
{
	static uint8_t work[512 * KIB] __attribute__((aligned(64)));
	struct phys phys = { 0 };
	struct zpool z;

	(void)state;
	for (unsigned codec = 0; codec < 2; codec++) {
		assert_int_equal(zpool_init(&z, &phys, codec, work, zpool_work_bytes(codec) - 1), -EINVAL);
		assert_int_equal(zpool_init(&z, &phys, codec, work + 1, sizeof(work) - 1), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_use_returns_what_was_written),
		cmocka_unit_test(shrink_packs_objects_and_tells_their_owners),
		cmocka_unit_test(shrink_does_nothing_when_nobody_would_hear_of_it),
		cmocka_unit_test(packing_loses_little),
		cmocka_unit_test(incompressible_pages_are_refused),
		cmocka_unit_test(corrupt_objects_give_eio),
		cmocka_unit_test(commit_respects_max_frames),
		cmocka_unit_test(a_failed_allocation_changes_nothing),
		cmocka_unit_test(the_last_frames_take_objects_of_smaller_classes),
		cmocka_unit_test(an_empty_block_is_freed_at_once),
		cmocka_unit_test(init_refuses_too_little_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

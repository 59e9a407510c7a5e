/* store/seal: nothing readable leaves, nothing changed comes back, and no two messages are alike. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/hash.h"
#include "keys.h"
#include "store/seal.h"

#define KEYS 300
#define EXTENTS 2
#define PAGES (EXTENTS * EXTENT_SLOTS)
#define BYTES (PAGES * PAGE_SIZE)
#define SEEN 65536

/* What lies outside, and the hash of all that ever went there. */
static uint8_t (*disk)[PAGE_SIZE];
static uint64_t *seen;
static unsigned nr_seen;
static int write_err; /* of the next page that goes out */

static void look_at(const uint8_t *page)
{
	uint64_t hash = hash_page(page);

	for (uint64_t i = hash % SEEN;; i = (i + 1) % SEEN) {
		assert_true(seen[i] != hash);
		if (seen[i] != 0)
			continue;
		seen[i] = hash;
		assert_true(++nr_seen < SEEN / 2);
		return;
	}
}

static void run(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	(void)s;
	for (unsigned i = 0; i < n; i++) {
		io[i].err = 0;
		if (!out) {
			memcpy(io[i].page, disk[page + i], PAGE_SIZE);
			continue;
		}
		memcpy(disk[page + i], io[i].page, PAGE_SIZE);
		io[i].err = write_err;
		/* What failed comes again, and may be the same. */
		if (write_err == 0)
			look_at(io[i].page);
		write_err = 0;
	}
}

static int lock(void *ctx, uint32_t extent, bool exclusive)
{
	(void)ctx;
	(void)extent;
	(void)exclusive;
	return 0;
}

static const struct store_ops ops = {
	.name = "sealed", .reserve = slots_reserve, .write = slots_write, .commit = slots_commit, .abort = slots_abort,
	.read = slots_read, .free = slots_free,
};

struct world {
	struct slots slots;
	struct seal seal;
	struct keys k;
	void *books, *sealing;
};

static struct world *world_make(void)
{
	struct world *w = calloc(1, sizeof(*w));

	keys_make(&w->k, &w->slots.store, KEYS, 1);
	w->books = calloc(1, slots_bytes(BYTES));
	w->sealing = aligned_alloc(PAGE_SIZE, ALIGN_UP(seal_bytes(BYTES), PAGE_SIZE));
	memset(w->sealing, 0, seal_bytes(BYTES));
	assert_int_equal(slots_init(&w->slots, &ops, 0, BYTES, w->books, slots_bytes(BYTES)), 0);
	w->slots.run = run;
	w->slots.extents.lock = lock;
	assert_int_equal(seal_init(&w->seal, &w->slots, BYTES, w->sealing), 0);
	return w;
}

static void world_drop(struct world *w)
{
	keys_free_all(&w->k);
	slots_check(&w->slots);
	keys_drop(&w->k);
	free(w->books);
	free(w->sealing);
	free(w);
}

static int start(void **state)
{
	(void)state;
	disk = calloc(PAGES, PAGE_SIZE);
	seen = calloc(SEEN, sizeof(*seen));
	nr_seen = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(disk);
	free(seen);
	return 0;
}

static void write_key(struct world *w, unsigned key)
{
	struct store_io io = { .page = w->k.want[key], .owner = key };

	assert_int_equal(ops.reserve(&w->slots.store, &io, 1), 1);
	ops.write(&w->slots.store, &io, 1);
	if (io.err != 0) {
		/* As the swap layer does. */
		ops.write(&w->slots.store, &io, 1);
		assert_int_equal(io.err, 0);
	}
	ops.commit(&w->slots.store, &io);
	w->k.handle[key] = io.handle;
	w->k.stored[key] = true;
}

static int read_key(struct world *w, unsigned key)
{
	struct store_io io = { .page = w->k.buf, .handle = w->k.handle[key] };

	ops.read(&w->slots.store, &io, 1);
	return io.err;
}

/* All pages are the same, so that equal messages would show a nonce that was used twice. */
static void no_two_messages_are_alike(void **state)
{
	(void)state;
	struct world *w = world_make();

	memset(w->k.want, 0, KEYS * PAGE_SIZE);
	for (unsigned i = 0; i < 12000; i++) {
		unsigned key = (unsigned)rand_below(&w->k.r, KEYS);

		if (w->k.stored[key]) {
			keys_read(&w->k, &key, 1);
			keys_free(&w->k, key);
			continue;
		}
		write_err = rand_below(&w->k.r, 10) == 0 ? -EIO : 0;
		write_key(w, key);
	}
	/* What is freed while a child may read it is used again later. */
	slots_share(&w->slots);
	for (unsigned i = 0; i < KEYS; i++) {
		if (!w->k.stored[i])
			write_key(w, i);
		keys_free(&w->k, i);
	}
	assert_true(slots_unshare(&w->slots));
	for (unsigned i = 0; i < KEYS; i++)
		write_key(w, i);
	world_drop(w);
}

static void parent_and_child_write_under_different_nonces(void **state)
{
	(void)state;
	struct world *parent = world_make(), *child = calloc(1, sizeof(*child));
	size_t books = slots_bytes(BYTES), sealing = ALIGN_UP(seal_bytes(BYTES), PAGE_SIZE);

	memset(parent->k.want, 0, KEYS * PAGE_SIZE);
	for (unsigned i = 0; i < KEYS / 2; i++)
		write_key(parent, i);
	*child = *parent;
	child->books = malloc(books);
	child->sealing = aligned_alloc(PAGE_SIZE, sealing);
	memcpy(child->books, parent->books, books);
	memcpy(child->sealing, parent->sealing, sealing);
	child->slots.bitmap = child->books;
	child->slots.extents.mine = (void *)((uint8_t *)child->books + ((uint8_t *)parent->slots.extents.mine - (uint8_t *)parent->books));
	child->slots.extents.at = (void *)((uint8_t *)child->books + ((uint8_t *)parent->slots.extents.at - (uint8_t *)parent->books));
	child->slots.seal = &child->seal;
	child->seal.slots = &child->slots;
	child->seal.key = child->sealing;
	child->seal.bounce = (uint8_t *)child->sealing + PAGE_SIZE;
	child->seal.prefix_of = (void *)((uint8_t *)child->sealing + ((uint8_t *)parent->seal.prefix_of - (uint8_t *)parent->sealing));
	child->seal.slot = (void *)((uint8_t *)child->sealing + ((uint8_t *)parent->seal.slot - (uint8_t *)parent->sealing));
	keys_make(&child->k, &child->slots.store, KEYS, 2);
	memcpy(child->k.want, parent->k.want, KEYS * PAGE_SIZE);
	memcpy(child->k.stored, parent->k.stored, KEYS * sizeof(bool));
	memcpy(child->k.handle, parent->k.handle, KEYS * sizeof(uint64_t));
	assert_int_equal(slots_share(&parent->slots), 0);
	assert_int_equal(slots_inherit(&child->slots, true), 0);
	assert_int_equal(seal_inherit(&child->seal), 0);
	/* Both go on; the child reads what was written before, under the key that both have. */
	for (unsigned i = KEYS / 2; i < KEYS; i++) {
		write_key(parent, i);
		write_key(child, i);
	}
	for (unsigned i = 0; i < KEYS; i++) {
		keys_read(&parent->k, &i, 1);
		keys_read(&child->k, &i, 1);
	}
	/* If both were to write to one extent, the messages would still differ. */
	assert_memory_not_equal(parent->seal.prefix, child->seal.prefix, SEAL_PREFIX);
	world_drop(parent);
	world_drop(child);
}

static void what_lies_outside_cannot_be_read(void **state)
{
	(void)state;
	struct world *w = world_make();

	for (unsigned i = 0; i < KEYS; i++) {
		memset(w->k.want[i], (int)i, PAGE_SIZE);
		write_key(w, i);
	}
	for (unsigned i = 0; i < KEYS; i++) {
		uint64_t count[256] = { 0 };

		for (size_t k = 0; k < PAGE_SIZE; k++)
			count[disk[i][k]]++;
		/* Of 4096 random bytes 16 are the same; sixty never. */
		for (unsigned b = 0; b < 256; b++)
			assert_true(count[b] < 60);
	}
	world_drop(w);
}

static void what_was_changed_is_refused(void **state)
{
	static uint8_t old[PAGE_SIZE], other[PAGE_SIZE];

	(void)state;
	struct world *w = world_make();

	for (unsigned i = 0; i < KEYS; i++) {
		page_make(&w->k.r, w->k.want[i], 100);
		write_key(w, i);
	}
	for (unsigned i = 0; i < KEYS; i++) {
		uint8_t *byte = &disk[w->k.handle[i]][rand_below(&w->k.r, PAGE_SIZE)];
		uint8_t flip = (uint8_t)(1u << rand_below(&w->k.r, 8));

		*byte ^= flip;
		assert_int_equal(read_key(w, i), -EKEYREJECTED);
		*byte ^= flip;
		keys_read(&w->k, &i, 1);
	}
	/* Two pages that have changed places. */
	memcpy(old, disk[w->k.handle[0]], PAGE_SIZE);
	memcpy(other, disk[w->k.handle[1]], PAGE_SIZE);
	memcpy(disk[w->k.handle[0]], other, PAGE_SIZE);
	memcpy(disk[w->k.handle[1]], old, PAGE_SIZE);
	assert_int_equal(read_key(w, 0), -EKEYREJECTED);
	assert_int_equal(read_key(w, 1), -EKEYREJECTED);
	memcpy(disk[w->k.handle[1]], other, PAGE_SIZE);
	/* One that was in the same slot before: the slot is the only free one. */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t slot = w->k.handle[0];

		keys_free(&w->k, 0);
		w->slots.hint = slot;
		write_key(w, 0);
		assert_int_equal(w->k.handle[0], slot);
		keys_read(&w->k, &(unsigned){ 0 }, 1);
		memcpy(other, disk[slot], PAGE_SIZE);
		memcpy(disk[slot], old, PAGE_SIZE);
		assert_int_equal(read_key(w, 0), -EKEYREJECTED);
		memcpy(disk[slot], other, PAGE_SIZE);
		memcpy(old, other, PAGE_SIZE);
	}
	/* And nobody else's key opens it. */
	w->seal.key[7] ^= 1;
	assert_int_equal(read_key(w, 5), -EKEYREJECTED);
	world_drop(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_two_messages_are_alike, start, end),
		cmocka_unit_test_setup_teardown(parent_and_child_write_under_different_nonces, start, end),
		cmocka_unit_test_setup_teardown(what_lies_outside_cannot_be_read, start, end),
		cmocka_unit_test_setup_teardown(what_was_changed_is_refused, start, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a test of a store knows: pages by key, which of them are stored, and under which handle. */
#ifndef STW_TESTS_STORE_KEYS_H
#define STW_TESTS_STORE_KEYS_H

#include <stdlib.h>
#include <cmocka.h>

#include "mm/backing/store.h"
#include "pages.h"

struct keys {
	struct store *store;
	unsigned n;
	struct rand r;
	uint8_t (*want)[PAGE_SIZE]; /* contents */
	bool *stored;
	uint64_t *handle;
	uint8_t *buf;               /* STORE_BATCH pages */
};

static inline void keys_make(struct keys *k, struct store *s, unsigned n, uint64_t seed)
{
	rand_seed(&k->r, seed);
	k->store = s;
	k->n = n;
	k->want = aligned_alloc(PAGE_SIZE, n * PAGE_SIZE);
	k->stored = calloc(n, sizeof(*k->stored));
	k->handle = calloc(n, sizeof(*k->handle));
	k->buf = aligned_alloc(PAGE_SIZE, STORE_BATCH * PAGE_SIZE);
}

static inline void keys_drop(struct keys *k)
{
	free(k->want);
	free(k->stored);
	free(k->handle);
	free(k->buf);
}

static inline unsigned keys_stored(const struct keys *k)
{
	unsigned stored = 0;

	for (unsigned i = 0; i < k->n; i++)
		stored += k->stored[i];
	return stored;
}

static inline void keys_free(struct keys *k, unsigned key)
{
	k->store->ops->free(k->store, k->handle[key]);
	k->stored[key] = false;
}

static inline void keys_free_all(struct keys *k)
{
	for (unsigned i = 0; i < k->n; i++) {
		if (k->stored[i])
			keys_free(k, i);
	}
}

/* Reads stored keys; they must come back as they were written. */
static inline void keys_read(struct keys *k, const unsigned *keys, unsigned n)
{
	struct store_io io[STORE_BATCH];

	for (unsigned i = 0; i < n; i++)
		io[i] = (struct store_io){ .page = k->buf + i * PAGE_SIZE, .handle = k->handle[keys[i]], .err = -1 };
	k->store->ops->read(k->store, io, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(io[i].err, 0);
		assert_memory_equal(io[i].page, k->want[keys[i]], PAGE_SIZE);
	}
}

/* Up to n different keys that are (not) stored. */
static inline unsigned keys_pick(struct keys *k, bool stored, unsigned n, unsigned *keys)
{
	unsigned start = (unsigned)rand_below(&k->r, k->n), got = 0;

	for (unsigned i = 0; i < k->n && got < n; i++) {
		if (k->stored[(start + i) % k->n] == stored)
			keys[got++] = (start + i) % k->n;
	}
	return got;
}

#define KEYS_BATCHES 4

/* Several batches on their way at once, in whatever order they end. One that is not taken whole is read as ever. Returns how many pages were. */
static inline unsigned keys_read_by_the_way(struct keys *k, unsigned batches)
{
	static uint8_t pages[KEYS_BATCHES][STORE_BATCH][PAGE_SIZE] __attribute__((aligned(4096)));
	const struct store_ops *ops = k->store->ops;
	struct store_io io[KEYS_BATCHES][STORE_BATCH];
	unsigned keys[KEYS_BATCHES][STORE_BATCH], n[KEYS_BATCHES], begun[KEYS_BATCHES], all = 0;
	uint32_t left[KEYS_BATCHES] = { 0 };

	for (unsigned b = 0; b < batches; b++) {
		n[b] = keys_pick(k, true, 1 + (unsigned)rand_below(&k->r, STORE_BATCH), keys[b]);
		for (unsigned i = 0; i < n[b]; i++)
			io[b][i] = (struct store_io){ .page = pages[b][i], .handle = k->handle[keys[b][i]] };
		begun[b] = n[b] > 0 ? ops->read_begin(k->store, io[b], n[b], &left[b]) : 0;
		assert_true(begun[b] <= n[b] && left[b] == begun[b]);
		all += begun[b];
	}
	while ((left[0] | left[1] | left[2] | left[3]) != 0)
		ops->read_poll(k->store, rand_below(&k->r, 2));
	for (unsigned b = 0; b < batches; b++) {
		ops->read(k->store, io[b] + begun[b], n[b] - begun[b]);
		for (unsigned i = 0; i < n[b]; i++) {
			assert_int_equal(io[b][i].err, 0);
			assert_memory_equal(io[b][i].page, k->want[keys[b][i]], PAGE_SIZE);
		}
	}
	return all;
}

#endif

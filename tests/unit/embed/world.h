/* A file, its region, and a copy of what both should hold. */
#ifndef STW_TESTS_EMBED_WORLD_H
#define STW_TESTS_EMBED_WORLD_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/page.h"
#include "steward/steward.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* A file with a copy of its content in memory. */
struct world {
	char path[64];
	size_t bytes;
	uint8_t *want;
	struct stw_region *r;
	uint64_t random;
};

static inline void fill_random(uint8_t *at, size_t bytes, uint64_t *random)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t w = next64(random);

		memcpy(at + i, &w, 8);
	}
}

static inline struct world world_make(size_t bytes)
{
	struct world w = { .path = "/var/tmp/steward-embed-XXXXXX", .bytes = bytes, .want = calloc(1, bytes), .random = 42 };
	int fd = mkstemp(w.path);

	assert_true(fd >= 0);
	fill_random(w.want, bytes, &w.random);
	assert_int_equal(write(fd, w.want, bytes), bytes);
	close(fd);
	return w;
}

static inline struct stw_file_config config_of(const struct world *w, size_t budget, size_t page)
{
	struct stw_file_config c = STW_FILE_CONFIG;

	c.path = w->path;
	c.writable = 1;
	c.budget = budget;
	c.page = page;
	return c;
}

static inline void open_with(struct world *w, const struct stw_file_config *c)
{
	w->r = stw_file_open(c);
	if (w->r == NULL)
		print_error("%s\n", stw_error());
	assert_non_null(w->r);
}

static inline void world_open(struct world *w, size_t budget, size_t page)
{
	struct stw_file_config c = config_of(w, budget, page);

	open_with(w, &c);
	assert_int_equal(stw_bytes(w->r), w->bytes);
}

static inline uint8_t *address(struct world *w) { return stw_address(w->r); }

static inline struct stw_stats stats_of(struct world *w)
{
	struct stw_stats s;

	assert_int_equal(stw_stats(w->r, &s, sizeof(s)), 0);
	return s;
}

/* The file holds what it should. */
static inline void check_file(struct world *w)
{
	uint8_t *have = malloc(w->bytes + 1);
	int fd = open(w->path, O_RDONLY);

	assert_int_equal(read(fd, have, w->bytes + 1), w->bytes);
	assert_memory_equal(have, w->want, w->bytes);
	close(fd);
	free(have);
}

static inline void world_end(struct world *w)
{
	if (w->r != NULL)
		assert_int_equal(stw_close(w->r), 0);
	unlink(w->path);
	free(w->want);
}

static inline void write_some(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		size_t at = below64(&w->random, w->bytes);

		w->want[at] ^= 0x5a;
		address(w)[at] ^= 0x5a;
	}
}

#endif

/*
 * A store for tests: pages in an array, with the contract's rules asserted
 * (who holds the lock, which call may follow which) and every refusal on
 * demand. If it is read with the lock held, its handles change whenever it is
 * asked to shrink.
 */
#ifndef STW_TEST_FAKESTORE_H
#define STW_TEST_FAKESTORE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rand.h"
#include "mm/backing/store.h"

#define FAKE_CELLS 512

struct fake_cell {
	enum { CELL_FREE, CELL_RESERVED, CELL_WRITTEN, CELL_STORED } state;
	uint64_t owner;
	uint8_t page[PAGE_SIZE];
};

struct fake_store {
	struct store store; /* first */
	struct store_ops ops;
	struct rand rand;
	const bool *locked;    /* the machine's lock, as the test models it */
	unsigned cells;        /* capacity, at most FAKE_CELLS */
	uint64_t refuse;       /* first word of pages that write answers with -E2BIG; 0: none */
	unsigned commit_fails; /* one commit in so many says -ENOMEM; 0: none */
	unsigned write_fails;  /* one write in so many says -EIO or -ENOSPC; 0: none */
	unsigned read_fails;   /* one read in so many says -EIO; 0: none */
	unsigned next_writes, next_reads; /* so many calls say -EIO for each page, then -EAGAIN, and so on */
	unsigned moves;
	bool in_order;         /* pages lie one after the other, as they come */
	unsigned next_cell;
	struct fake_cell cell[FAKE_CELLS];
};

static inline struct fake_store *fake_of(struct store *s) { return (struct fake_store *)s; }

static inline bool fake_chance(struct fake_store *f, unsigned one_in)
{
	return one_in != 0 && rand_below(&f->rand, one_in) == 0;
}

/* A handle is 1000 + cell, so that index and handle cannot be mixed unseen. */
static inline struct fake_cell *fake_cell(struct fake_store *f, uint64_t handle)
{
	ASSERT(handle >= 1000 && handle < 1000 + FAKE_CELLS);
	return &f->cell[handle - 1000];
}

/* Cells are handed out at random, unless they are to be in order. */
static inline struct fake_cell *fake_pick(struct fake_store *f)
{
	unsigned from = f->in_order ? f->next_cell++ % f->cells : (unsigned)rand_below(&f->rand, f->cells);

	for (unsigned i = 0; i < f->cells; i++) {
		struct fake_cell *c = &f->cell[(from + i) % f->cells];

		if (c->state == CELL_FREE)
			return c;
	}
	return NULL;
}

static unsigned fake_reserve(struct store *s, struct store_io *io, unsigned n)
{
	struct fake_store *f = fake_of(s);
	unsigned got = 0;

	ASSERT(*f->locked && n <= STORE_BATCH);
	for (struct fake_cell *c; got < n && (c = f->cells != 0 ? fake_pick(f) : NULL) != NULL; got++) {
		c->state = CELL_RESERVED;
		io[got].scratch = c;
		io[got].err = 0;
	}
	for (unsigned i = got; i < n; i++)
		io[i].err = -ENOSPC;
	return got;
}

static void fake_write(struct store *s, struct store_io *io, unsigned n)
{
	struct fake_store *f = fake_of(s);

	ASSERT(!*f->locked);
	for (unsigned i = 0; i < n; i++) {
		struct fake_cell *c = io[i].scratch;
		uint64_t word;

		/* A write that failed may be tried again. */
		ASSERT(c->state == CELL_RESERVED || c->state == CELL_WRITTEN);
		c->state = CELL_WRITTEN;
		io[i].err = 0;
		memcpy(c->page, io[i].page, PAGE_SIZE);
		memcpy(&word, io[i].page, sizeof(word));
		io[i].bytes = PAGE_SIZE;
		if (f->next_writes > 0)
			io[i].err = f->next_writes % 2 ? -EIO : -EAGAIN;
		else if (f->refuse != 0 && word == f->refuse)
			io[i].err = -E2BIG;
		else if (fake_chance(f, f->write_fails))
			io[i].err = rand_below(&f->rand, 2) ? -EIO : -ENOSPC;
	}
	f->next_writes -= f->next_writes > 0;
}

static void fake_commit(struct store *s, struct store_io *io)
{
	struct fake_store *f = fake_of(s);
	struct fake_cell *c = io->scratch;

	ASSERT(*f->locked && io->err == 0 && c->state == CELL_WRITTEN);
	if (fake_chance(f, f->commit_fails)) {
		c->state = CELL_FREE;
		io->err = -ENOMEM;
		return;
	}
	c->state = CELL_STORED;
	c->owner = io->owner;
	io->handle = 1000 + (uint64_t)(c - f->cell);
	s->stat.pages++;
}

static void fake_abort(struct store *s, struct store_io *io)
{
	struct fake_cell *c = io->scratch;

	ASSERT(*fake_of(s)->locked && (c->state == CELL_RESERVED || c->state == CELL_WRITTEN));
	c->state = CELL_FREE;
}

static void fake_read(struct store *s, struct store_io *io, unsigned n)
{
	struct fake_store *f = fake_of(s);

	ASSERT(*f->locked == f->ops.read_locked);
	for (unsigned i = 0; i < n; i++) {
		struct fake_cell *c = fake_cell(f, io[i].handle);

		ASSERT(c->state == CELL_STORED);
		memcpy(io[i].page, c->page, PAGE_SIZE);
		io[i].err = fake_chance(f, f->read_fails) ? -EIO : 0;
		if (f->next_reads > 0)
			io[i].err = f->next_reads % 2 ? -EIO : -EAGAIN;
	}
	f->next_reads -= f->next_reads > 0;
}

static void fake_free(struct store *s, uint64_t handle)
{
	struct fake_store *f = fake_of(s);
	struct fake_cell *c = fake_cell(f, handle);

	ASSERT(*f->locked && c->state == CELL_STORED);
	c->state = CELL_FREE;
	memset(c->page, 0xdf, PAGE_SIZE);
	s->stat.pages--;
}

/* Moves some pages to other cells. */
static uint32_t fake_shrink(struct store *s)
{
	struct fake_store *f = fake_of(s);

	ASSERT(*f->locked);
	for (unsigned i = 0; i < f->cells; i++) {
		struct fake_cell *from = &f->cell[i], *to;

		if (from->state != CELL_STORED || rand_below(&f->rand, 4) != 0 || (to = fake_pick(f)) == NULL)
			continue;
		*to = *from;
		from->state = CELL_FREE;
		memset(from->page, 0xdf, PAGE_SIZE);
		s->moved(s->moved_ctx, to->owner, 1000 + (uint64_t)(to - f->cell));
		f->moves++;
	}
	return 0;
}

static inline struct fake_store *fake_make(const bool *locked, unsigned cells, bool read_locked, uint64_t seed)
{
	struct fake_store *f = calloc(1, sizeof(*f));

	ASSERT(f != NULL && cells <= FAKE_CELLS);
	f->ops = (struct store_ops){
		.name = "fake", .reserve = fake_reserve, .write = fake_write, .commit = fake_commit,
		.abort = fake_abort, .read = fake_read, .free = fake_free,
		.read_locked = read_locked,
		/* A page that is read without the lock cannot be moved under the lock. */
		.shrink = read_locked ? fake_shrink : NULL,
	};
	f->store.ops = &f->ops;
	f->locked = locked;
	f->cells = cells;
	rand_seed(&f->rand, seed);
	return f;
}

#endif

/*
 * The bins: where free chunks wait.
 *
 *   1        unsorted: a freed chunk gets one chance to be reused before it is sorted
 *   2..63    one size each, 32, 48 … 1008; first in, first out, so that neighbours get time to merge
 *   64..126  a range of sizes each, 64 bytes wide at first, then 512, 4 Ki, 32 Ki, 256 Ki, and the rest
 *
 * A large bin is a list from the largest to the smallest. The first chunk of
 * each size is also in a ring over the sizes (fd_size: the next smaller), so a
 * search costs the number of sizes and not of chunks. Equal sizes go in and
 * out behind the first one, whose ring links then need no care.
 *
 *   bin ⇄ 2048 ⇄ 2048 ⇄ 2016 ⇄ 1984 ⇄ 1984 ⇄ bin
 *          └───────────── ring ──┴──────┘
 *
 * binmap: one bit a bin; set on insertion, cleared when a search finds the bin
 * empty. A list head is addressed as a chunk whose fd and bk are the head's.
 *
 * Doug Lea, "A Memory Allocator" (2000).
 */
#include "malloc/arena.h"

unsigned bin_index(size_t size)
{
	if (size < SMALL_LIMIT)
		return (unsigned)(size >> 4);
	if (size >> 6 <= 48)
		return 48 + (unsigned)(size >> 6);
	if (size >> 9 <= 20)
		return 91 + (unsigned)(size >> 9);
	if (size >> 12 <= 10)
		return 110 + (unsigned)(size >> 12);
	if (size >> 15 <= 4)
		return 119 + (unsigned)(size >> 15);
	if (size >> 18 <= 2)
		return 124 + (unsigned)(size >> 18);
	return BIN_LAST;
}

void bins_init(struct arena *a)
{
	for (unsigned i = 0; i < NR_BINS; i++)
		a->bins[i].fd = a->bins[i].bk = bin_head(a, i);
}

static void list_insert(struct chunk *c, struct chunk *before, struct chunk *after)
{
	if (unlikely(before->fd != after || after->bk != before))
		misuse("corrupted free list", c);
	c->bk = before;
	c->fd = after;
	before->fd = c;
	after->bk = c;
}

void bin_insert_unsorted(struct arena *a, struct chunk *c, size_t size)
{
	struct chunk *bin = bin_head(a, BIN_UNSORTED);

	if (size >= SMALL_LIMIT)
		c->fd_size = NULL;
	list_insert(c, bin, bin->fd);
	a->free_bytes += size;
	a->free_chunks++;
}

/* Puts c into the ring before f: f is the next smaller size, or the largest when c is the smallest. */
static void ring_insert(struct chunk *c, struct chunk *f)
{
	if (unlikely(f->bk_size->fd_size != f))
		misuse("corrupted free list (sizes)", c);
	c->fd_size = f;
	c->bk_size = f->bk_size;
	f->bk_size->fd_size = c;
	f->bk_size = c;
}

static void large_insert(struct chunk *bin, struct chunk *c, size_t size)
{
	struct chunk *f = bin->fd;

	if (f == bin) {
		c->fd_size = c->bk_size = c;
		list_insert(c, bin, bin);
		return;
	}
	if (size < chunk_size(bin->bk)) {
		ring_insert(c, f);
		list_insert(c, bin->bk, bin);
		return;
	}
	while (size < chunk_size(f))
		f = f->fd_size;
	if (size == chunk_size(f)) {
		c->fd_size = NULL;
		list_insert(c, f, f->fd);
	} else {
		ring_insert(c, f);
		list_insert(c, f->bk, f);
	}
}

void bin_insert(struct arena *a, struct chunk *c, size_t size)
{
	unsigned index = bin_index(size);
	struct chunk *bin = bin_head(a, index);

	if (size < SMALL_LIMIT)
		list_insert(c, bin, bin->fd);
	else
		large_insert(bin, c, size);
	a->binmap[index / 64] |= (uint64_t)1 << index % 64;
	a->free_bytes += size;
	a->free_chunks++;
}

/* c leaves the ring; if the next in the list has its size, that one takes its place. */
static void ring_remove(struct chunk *c)
{
	struct chunk *next = c->fd;

	if (unlikely(c->fd_size->bk_size != c || c->bk_size->fd_size != c))
		misuse("corrupted free list (sizes)", c);
	/* Only a chunk of the same size has no fd_size here: in place of a list head one reads the next head, never NULL. */
	if (next->fd_size == NULL) {
		if (c->fd_size == c) {
			next->fd_size = next->bk_size = next;
		} else {
			next->fd_size = c->fd_size;
			next->bk_size = c->bk_size;
			c->fd_size->bk_size = next;
			c->bk_size->fd_size = next;
		}
	} else {
		c->fd_size->bk_size = c->bk_size;
		c->bk_size->fd_size = c->fd_size;
	}
}

void bin_remove(struct arena *a, struct chunk *c)
{
	size_t size = chunk_size(c);
	struct chunk *fd = c->fd, *bk = c->bk;

	if (unlikely(chunk_at(c, size)->prev_size != size))
		misuse("corrupted size vs. previous size", c);
	if (unlikely(fd->bk != c || bk->fd != c))
		misuse("corrupted free list", c);
	if (size >= SMALL_LIMIT && c->fd_size != NULL)
		ring_remove(c);
	fd->bk = bk;
	bk->fd = fd;
	a->free_bytes -= size;
	a->free_chunks--;
}

struct chunk *bin_best_fit(struct arena *a, unsigned index, size_t size)
{
	struct chunk *bin = bin_head(a, index), *c = bin->fd;

	if (c == bin || chunk_size(c) < size)
		return NULL;
	for (c = c->bk_size; chunk_size(c) < size; c = c->bk_size)
		;
	if (c != bin->bk && chunk_size(c->fd) == chunk_size(c))
		c = c->fd;
	return c;
}

unsigned bin_next_used(struct arena *a, unsigned index)
{
	for (unsigned word = index / 64; word < ARRAY_SIZE(a->binmap); word++) {
		uint64_t bits = a->binmap[word];

		if (word == index / 64)
			bits &= ~(uint64_t)0 << index % 64;
		for (; bits != 0; bits &= bits - 1) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);

			if (a->bins[i].fd != bin_head(a, i))
				return i;
			a->binmap[word] &= ~((uint64_t)1 << i % 64);
		}
	}
	return 0;
}

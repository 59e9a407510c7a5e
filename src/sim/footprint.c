/*
 * A hash table of bitmaps: one entry for 512 pages of a task, which is what a
 * leaf page table has as well. Dense memory so takes 1.1 bits a page at best,
 * scattered pages 144 bytes each at worst; touches stay within a chunk for a
 * while, so the last one is tried first. A sorted list would need the whole
 * trace, a bitmap of the address space 512 TiB.
 */
#include "sim/footprint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 1024u

static struct footprint_chunk *place_of(const struct footprint *f, uint64_t key)
{
	size_t i = (size_t)((key * 0x9e3779b97f4a7c15u) >> 24) & (f->room - 1);

	while (f->chunk[i].key != 0 && f->chunk[i].key != key)
		i = (i + 1) & (f->room - 1);
	return &f->chunk[i];
}

static int grow(struct footprint *f)
{
	struct footprint more = { .room = f->room > 0 ? f->room * 2 : FIRST_ROOM, .n = f->n, .pages = f->pages };

	more.chunk = calloc(more.room, sizeof(*more.chunk));
	if (more.chunk == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < f->room; i++) {
		if (f->chunk[i].key != 0)
			*place_of(&more, f->chunk[i].key) = f->chunk[i];
	}
	free(f->chunk);
	*f = more;
	return 0;
}

static struct footprint_chunk *chunk_of(struct footprint *f, uint64_t key)
{
	if (f->n >= f->room / 2 && grow(f) != 0)
		return NULL;
	struct footprint_chunk *c = place_of(f, key);

	if (c->key == 0) {
		c->key = key;
		f->n++;
	}
	f->last = c;
	return c;
}

int footprint_add(struct footprint *f, uint32_t task, uint64_t vpn)
{
	/* 20 bits of task and 43 of chunk: with the plus 1 no more than 64. */
	uint64_t key = ((uint64_t)task << 43 | vpn / FOOTPRINT_PAGES) + 1;
	struct footprint_chunk *c = f->last;

	if (c == NULL || c->key != key) {
		c = chunk_of(f, key);
		if (c == NULL)
			return -ENOMEM;
	}
	uint64_t bit = (uint64_t)1 << vpn % 64, *word = &c->bits[vpn % FOOTPRINT_PAGES / 64];

	if (*word & bit)
		return 0;
	*word |= bit;
	f->pages++;
	return 1;
}

void footprint_free(struct footprint *f)
{
	free(f->chunk);
	memset(f, 0, sizeof(*f));
}

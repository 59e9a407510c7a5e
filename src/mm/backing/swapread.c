/*
 * The way of pages out of their areas.
 *
 * Every page is checked against the checksum taken on its way out (law L5); a
 * mismatch is -EBADMSG and the caller must not show the bytes. What fails is read
 * again, SWAP_TRIES times in all, with pauses that get longer. One that fails for
 * good marks its area as dead, and is the caller's to tell.
 *
 * A read has two halves, begin and end. What a store in memory holds is there after
 * the first. A store that can read while others are served (read_begin) has the
 * pages until `left` is 0; another one is waited for in the first half. Pages that
 * have failed are waited for in the second.
 *
 * From begin to end the slots are SLOT_READING: their entries stay, and nobody else reads them.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/hash.h"
#include "mm/backing/swap.h"

/* What came out must be what went in. */
static void verify(const struct swap_slot *slot, struct swap_read *r)
{
	uint64_t hash = hash_page(r->page);

	r->seal = swap_seal(hash);
	if (hash_fold(hash) != slot->sum)
		r->err = -EBADMSG;
}

static void read_same(const struct swap_slot *slot, struct swap_read *r, bool keep)
{
	uint64_t *w = r->page;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*w); i++)
		w[i] = slot->handle;
	r->err = 0;
	/* The word is the content, there is nothing to verify; only a cached slot needs the seal. */
	r->seal = keep ? swap_seal(hash_page(r->page)) : 0;
}

/* Lists the pages of the area behind those begun, less those that no store has. Returns how many. */
static unsigned list_area(struct swap *s, unsigned area, struct swap_reading *g)
{
	unsigned *index = g->index + g->nr_begun, n = 0;
	struct store_io *io = g->io + g->nr_begun;

	for (unsigned i = 0; i < g->n; i++) {
		if (swp_area(g->r[i].entry) != area)
			continue;
		struct swap_slot *slot = swap_slot_of(s, g->r[i].entry);

		ASSERT(slot->flags & SLOT_USED);
		if (slot->flags & SLOT_SAME) {
			read_same(slot, &g->r[i], s->area[area].keep);
			continue;
		}
		index[n] = i;
		io[n++] = (struct store_io){ .page = g->r[i].page, .handle = slot->handle };
	}
	return n;
}

/* n pages have been read, or not. The first so many of index[] and io[] have failed in a way that may pass. */
static unsigned take(struct swap *s, struct swap_read *r, unsigned *index, struct store_io *io, unsigned n)
{
	unsigned failed = 0;

	for (unsigned j = 0; j < n; j++) {
		struct swap_read *one = &r[index[j]];

		one->err = io[j].err;
		if (one->err == 0 && !s->unchecked)
			verify(swap_slot_of(s, one->entry), one);
		if (!swap_err_passes(one->err))
			continue;
		index[failed] = index[j];
		io[failed] = io[j];
		io[failed++].err = one->err;
	}
	return failed;
}

/* Reads n pages of the area until they are there or have failed for good; `tried` times it has been tried. Lock given up inside. */
static void read_area(struct swap *s, struct swap_area *a, struct swap_read *r, unsigned *index, struct store_io *io, unsigned n,
		      unsigned tried, void (*lock)(void *), void (*unlock)(void *), void *ctx)
{
	bool locked = a->store->ops->read_locked;
	/* Memory does not get better by waiting. */
	unsigned tries = locked ? 1 : SWAP_TRIES;

	for (unsigned try = tried; n > 0 && try < tries; try++) {
		if (!locked)
			unlock(ctx);
		if (try > 0 && s->wait != NULL)
			s->wait(try);
		a->store->ops->read(a->store, io, n);
		if (!locked)
			lock(ctx);
		n = take(s, r, index, io, n);
	}
	if (n > 0)
		a->state = SWAP_AREA_DEAD;
}

static void leave_unread(struct swap_reading *g, const unsigned *index, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		g->r[index[i]].err = -EAGAIN;
}

static void begin(struct swap *s, struct swap_reading *g, bool wait, void (*lock)(void *), void (*unlock)(void *), void *ctx)
{
	ASSERT(g->n <= STORE_BATCH);
	g->left = 0;
	g->nr_begun = 0;
	/* One read may ask for an entry twice, as demotion does when its hand has come around. */
	for (unsigned i = 0; i < g->n; i++)
		DEBUG_ASSERT(!(swap_slot_of(s, g->r[i].entry)->flags & SLOT_READING));
	for (unsigned i = 0; i < g->n; i++)
		swap_slot_of(s, g->r[i].entry)->flags |= SLOT_READING;
	for (unsigned area = 0; area < s->nr_areas; area++) {
		struct swap_area *a = &s->area[area];
		unsigned n = list_area(s, area, g), *index = g->index + g->nr_begun;
		struct store_io *io = g->io + g->nr_begun;

		if (n == 0)
			continue;
		if (wait || a->store->ops->read_begin == NULL) {
			read_area(s, a, g->r, index, io, n, 0, lock, unlock, ctx);
			continue;
		}
		unlock(ctx);
		unsigned begun = a->store->ops->read_begin(a->store, io, n, &g->left);
		lock(ctx);
		g->nr_begun += begun;
		if (g->ahead)
			leave_unread(g, index + begun, n - begun);
		else
			read_area(s, a, g->r, index + begun, io + begun, n - begun, 0, lock, unlock, ctx);
	}
}

void swap_read_begin(struct swap *s, struct swap_reading *g, void (*lock)(void *), void (*unlock)(void *), void *ctx)
{
	begin(s, g, false, lock, unlock, ctx);
}

void swap_read_end(struct swap *s, struct swap_reading *g, void (*lock)(void *), void (*unlock)(void *), void *ctx)
{
	ASSERT(g->left == 0);
	for (unsigned i = 0, n; i < g->nr_begun; i += n) {
		unsigned area = swp_area(g->r[g->index[i]].entry);

		for (n = 1; i + n < g->nr_begun && swp_area(g->r[g->index[i + n]].entry) == area; n++)
			;
		unsigned failed = take(s, g->r, g->index + i, g->io + i, n);

		if (failed > 0 && !g->ahead)
			read_area(s, &s->area[area], g->r, g->index + i, g->io + i, failed, 1, lock, unlock, ctx);
	}
	for (unsigned i = 0; i < g->n; i++)
		swap_slot_of(s, g->r[i].entry)->flags &= (uint8_t)~SLOT_READING;
}

void swap_read_poll(struct swap *s, bool wait)
{
	for (unsigned i = 0; i < s->nr_areas; i++)
		if (s->area[i].store->ops->read_poll != NULL)
			s->area[i].store->ops->read_poll(s->area[i].store, wait);
}

void swap_read(struct swap *s, struct swap_read *r, unsigned n, void (*lock)(void *), void (*unlock)(void *), void *ctx)
{
	struct swap_reading g;

	g.r = r;
	g.n = n;
	g.ahead = false;
	begin(s, &g, true, lock, unlock, ctx);
	swap_read_end(s, &g, lock, unlock, ctx);
}

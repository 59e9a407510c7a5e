/* The swap layer's helper on this engine: the launcher's kcompressd, through the ledger. */
#include "live/engine.h"

_Static_assert(SWAP_AHEAD <= KCOMPRESSD_BATCH && SWAP_AHEAD_BATCHES <= KCOMPRESSD_BATCHES, "they fit");

static struct kcompressd_user user;

static void begin(void *ctx, struct swap_io *io, unsigned n)
{
	void *page[SWAP_AHEAD] = { NULL };
	uint8_t ticket[SWAP_AHEAD];

	for (unsigned i = 0; i < n; i++)
		page[i] = io[i].page;
	kcompressd_begin(ctx, page, ticket, n);
	for (unsigned i = 0; i < n; i++)
		io[i].ticket = ticket[i];
}

static void end(void *ctx, struct swap_io *io, unsigned n)
{
	const struct kcompressd_entry *result[SWAP_AHEAD];
	uint8_t ticket[SWAP_AHEAD] = { 0 };

	for (unsigned i = 0; i < n; i++)
		ticket[i] = io[i].ticket;
	kcompressd_end(ctx, ticket, result, n);
	for (unsigned i = 0; i < n; i++) {
		const struct kcompressd_entry *e = result[i];

		if (e == NULL)
			continue;
		io[i].looked = true;
		io[i].same = e->same;
		io[i].word = e->word;
		io[i].hash = e->hash;
		io[i].packed = e->same ? NULL : e->packed;
		io[i].packed_bytes = e->bytes;
	}
}

static const struct swap_ahead ahead = { .begin = begin, .end = end, .ctx = &user };

void ahead_init(void)
{
	struct engine *e = &engine;
	unsigned ring = (unsigned)(e->slot - e->ledger->slot);

	e->m.swap.ahead = NULL;
	/* What is compressed ahead is for the first area. */
	bool pool = e->m.swap.nr_areas > 0 && e->m.swap.area[0].store == &e->zpool.store;

	if (!pool || atomic_load(&e->ledger->kcompressd.running) == 0 || ring >= KCOMPRESSD_RINGS)
		return;
	kcompressd_attach(&user, &e->ledger->kcompressd, ring, e->pid, &e->zpool.codec);
	e->m.swap.ahead = &ahead;
}

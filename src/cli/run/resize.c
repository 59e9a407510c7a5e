/*
 * Raising the budget is bookkeeping. Lowering it is work of others: a process gives back only what it has taken offline.
 *
 *     ram_asked < ram_pages ──► debt_pages, the difference, which each process sees (live/share.c)
 *          every tick: what is free, or allowed and not used ──► out of the run, ram_pages falls by it, and the debt
 *          ram_pages == ram_asked: reached.   Nothing has come for PATIENCE: given up, ram_pages stays where it is
 *
 * So the law of the ledger (free + reserved + granted == ram) holds all the way, and whoever asked sees how far it is.
 *
 * A process that has never come near the budget has no engine that could give something back. While there is a debt it gets
 * one when it next maps memory (live/native.c); one that sleeps, or lives on what it has, keeps it.
 */
#include "cli/run/resize.h"

#include <unistd.h>

#define PATIENCE_NS 5000000000 /* 5 s: a process gives something several times a second as long as it can */

void resize_init(struct resize *r, struct ledger *l)
{
	r->ledger = l;
}

uint64_t resize_max(uint64_t ram_pages)
{
	uint64_t machine = ALIGN_DOWN((uint64_t)sysconf(_SC_PHYS_PAGES), MIB >> PAGE_SHIFT);

	return MAX(ram_pages, MIN(RESIZE_TIMES * ram_pages, machine));
}

static void raise_to(struct ledger *l, uint64_t pages)
{
	uint64_t more = pages - atomic_load(&l->ram_pages);

	atomic_fetch_add(&l->ram_pages, more);
	atomic_fetch_add(&l->free_pages, (int64_t)more);
}

/* True: something has come. */
static bool lower_towards(struct ledger *l, uint64_t pages)
{
	uint64_t got = ledger_collect(l, atomic_load(&l->ram_pages) - pages);

	atomic_fetch_sub(&l->ram_pages, got);
	atomic_store(&l->debt_pages, atomic_load(&l->ram_pages) - pages);
	return got > 0;
}

static void withdrawn(struct resize *r)
{
	if (r->progress_ns != 0)
		atomic_store(&r->ledger->debt_pages, 0);
	r->progress_ns = 0;
}

void resize_tick(struct resize *r, uint64_t now)
{
	struct ledger *l = r->ledger;
	uint64_t asked = atomic_load(&l->ram_asked), wish = asked;

	if (asked == 0) {
		withdrawn(r);
		return;
	}
	asked = MIN(asked, MAX(l->ram_max_pages, atomic_load(&l->ram_pages)));
	if (r->progress_ns == 0)
		r->progress_ns = now;
	if (asked > atomic_load(&l->ram_pages))
		raise_to(l, asked);
	if (lower_towards(l, asked))
		r->progress_ns = now;
	if (atomic_load(&l->debt_pages) > 0 && now - r->progress_ns < PATIENCE_NS)
		return;
	atomic_store(&l->debt_pages, 0);
	r->progress_ns = 0;
	/* Somebody may have asked for something else meanwhile. */
	atomic_compare_exchange_strong(&l->ram_asked, &wish, 0);
}

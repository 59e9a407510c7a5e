/*
 * Discarded pages: which bytes of free memory nobody needs.
 *
 * The law makes bookkeeping needless: the discarded pages of a free chunk are
 * chunk_inner(), a function of its bounds. So each change of bounds says
 * which pages are to be announced or revived, each page once:
 *
 *   merge:  whole ⊇ below ∪ above; the gaps between them are announced
 *   split:  what the remainder does not keep is revived
 *
 *   ├ links ┤▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒├ part of a page, footer ┤     ▒ discarded
 *
 * The top is different, for it is cut many times and in small pieces: it
 * remembers where its discarded pages begin (top_dead) and end (top_fresh).
 * Pages from top_fresh on were never written: not announced, known to be zero.
 * Reviving and announcing go in batches there.
 *
 *   top ├ header, written │▒▒▒▒ top_dead .. top_fresh ▒▒▒▒│ fresh … top_end ┤
 */
#include "malloc/arena.h"

#define TOP_DISCARD_MIN (16 * PAGE_SIZE)
#define TOP_REVIVE_BATCH (8 * PAGE_SIZE)

static void discard(uintptr_t lo, uintptr_t hi)
{
	if (lo < hi)
		source()->discard((void *)lo, hi - lo);
}

void dead_revive(struct range r)
{
	if (r.lo < r.hi)
		source()->revive((void *)r.lo, r.hi - r.lo);
}

/* whole is now one free chunk; below and above are what its lower and upper part had announced before. */
void dead_merge(struct range whole, struct range below, struct range above)
{
	uintptr_t lo = below.hi != 0 ? below.hi : whole.lo;
	uintptr_t hi = above.hi != 0 ? above.lo : whole.hi;

	discard(lo, hi);
}

/* The first `taken` bytes of the free chunk c get used; the rest, if any, stays a free chunk. Before any write. */
void dead_split(const struct chunk *c, size_t size, size_t taken)
{
	struct range all = chunk_inner(c, size), kept = { 0, 0 };

	if (all.hi == 0)
		return;
	if (taken < size)
		kept = chunk_inner(chunk_at(c, taken), size - taken);
	if (kept.hi != 0)
		all.hi = kept.lo;
	dead_revive(all);
}

/* The top now starts lower; below: announced pages of the free chunk that it took in. */
void dead_top_lowered(struct arena *a, struct range below)
{
	uintptr_t lo = ALIGN_UP((uintptr_t)a->top + sizeof(struct chunk), PAGE_SIZE);

	if (below.hi != 0)
		discard(below.hi, a->top_dead);
	else if (lo + TOP_DISCARD_MIN <= a->top_dead)
		discard(lo, a->top_dead);
	else
		return;
	a->top_dead = lo;
}

/* Bytes of the top up to alive_end are about to be written. */
void dead_top_raise(struct arena *a, uintptr_t alive_end)
{
	uintptr_t need = ALIGN_UP(alive_end, PAGE_SIZE);

	a->top_reached[0] = MAX(a->top_reached[0], alive_end);
	if (need <= a->top_dead)
		return;
	if (a->top_dead < a->top_fresh) {
		uintptr_t to = MIN(MAX(need, a->top_dead + TOP_REVIVE_BATCH), a->top_fresh);

		dead_revive((struct range){ a->top_dead, to });
		a->top_dead = to;
	}
	if (need > a->top_fresh)
		a->top_fresh = a->top_dead = need;
}

/* The pages of the top beyond `from` (page-aligned, above its header) go back to the source. */
void dead_top_cut(struct arena *a, uintptr_t from)
{
	if (from < a->top_fresh) {
		dead_revive((struct range){ MAX(a->top_dead, from), a->top_fresh });
		a->top_fresh = from;
	}
	a->top_dead = MIN(a->top_dead, a->top_fresh);
}

/* They did not go: after dead_top_cut, back to what was announced before. */
void dead_top_uncut(struct arena *a, uintptr_t dead, uintptr_t fresh)
{
	discard(MAX(dead, a->top_fresh), fresh);
	a->top_dead = dead;
	a->top_fresh = fresh;
}

#include "live/ask.h"

#include "live/clock.h"
#include "live/engine.h"

#define TURN_NS 1000000 /* 1 ms: then it is kswapd's turn */
#define PAGES_LOCKED 512 /* looked at while faults wait: 10 to 50 us */

/* How far the answer has come. */
static struct {
	uint32_t range;
	vpn_t vpn;      /* in it; 0: not begun */
} at;

static struct ask *asked(void)
{
	return &engine.ledger->ask[engine.slot - engine.ledger->slot];
}

/* Lock held. */
static void count(struct ask_range *r, vpn_t vpn, pte_t pte)
{
	struct machine *m = &engine.m;

	r->discardable += m->ops->discardable(m, &engine.mm, vpn);
	if (pte_is_present(pte)) {
		r->mapped++;
	} else if (pte_is_soft(pte)) {
		r->sample++;
	} else if (pte_is_swap(pte)) {
		swp_t entry = pte_swp(pte);

		if (swap_slot_of(&m->swap, entry)->flags & SLOT_SAME)
			r->same++;
		else if (m->swap.area[swp_area(entry)].store->ops->read_locked)
			r->pool++;
		else
			r->filed++;
	}
}

static void begin(struct ask_range *r)
{
	*r = (struct ask_range){ .start = r->start, .end = r->end, .own = engine_owns(r->start, r->end) };
	at.vpn = vpn_of(r->start);
}

/* Some pages of the range; true: it is done. */
static bool count_some(struct ask_range *r)
{
	vpn_t end = vpn_of(r->end), vpn;
	bool more = true;
	pte_t pte;

	engine_take();
	for (unsigned n = 0; n < PAGES_LOCKED && more; n++) {
		more = pt_next(&engine.mm.pt, at.vpn, end, &vpn, &pte);
		if (more) {
			count(r, vpn, pte);
			at.vpn.n = vpn.n + 1;
		}
	}
	engine_drop();
	return !more;
}

static void finish(struct ask *a)
{
	const struct pagetable *pt = &engine.mm.pt;

	engine_take();
	a->levels = pt->levels;
	for (unsigned i = 0; i < PT_LEVELS_MAX; i++)
		a->table_frames[i] = i < pt->levels ? pt->level_frames[i] : 0;
	engine_drop();
	uint32_t word = atomic_load(&engine.slot->asked);

	atomic_store(&engine.slot->asked, ask_word(ask_asker(word), ASK_ANSWERED));
}

/* True: there is a question, and it is ours to answer. */
static bool is_asked(void)
{
	uint32_t word = atomic_load_explicit(&engine.slot->asked, memory_order_acquire);

	if (ask_state(word) == ASK_ASKED &&
	    atomic_compare_exchange_strong(&engine.slot->asked, &word, ask_word(ask_asker(word), ASK_ANSWERING))) {
		at.range = 0;
		at.vpn.n = 0;
		return true;
	}
	return ask_state(word) == ASK_ANSWERING;
}

bool ask_answer(void)
{
	uint64_t until;

	if (!is_asked())
		return false;
	struct ask *a = asked();

	for (until = now_ns() + TURN_NS; at.range < MIN(a->nr, ASK_RANGES) && now_ns() < until;) {
		struct ask_range *r = &a->range[at.range];

		if (at.vpn.n == 0)
			begin(r);
		if (count_some(r)) {
			at.range++;
			at.vpn.n = 0;
		}
	}
	if (at.range < MIN(a->nr, ASK_RANGES))
		return true;
	finish(a);
	return false;
}

/*
 * Shares: how processes of a run divide its budget without anybody who divides it.
 *
 * Each engaged process looks at the others' slots five times a second. It sees two figures of each: urgency, how much the
 * process suffers for want of memory, and spare, how much it could do without.
 *
 *     urgency    1000  it has less than its floor, or is out of room; or the budget has been lowered: the run's debt
 *                stall the share of its time that it waits for pages (PSI's "some", of the supervisor), if it has pages out
 *                0     it has all that it ever touched
 *     spare      grant − floor
 *     floor      what it cannot do without: Steward's own, unmanaged memory, page tables, frames to work with; and at
 *                least an eighth of an even share, so that nobody starves who only waits for his turn
 *
 * The rule: memory goes from who stalls least to who stalls most. A process gives if somebody is more urgent than it stalls
 * by more than a margin and nobody with as much to spare stalls less than it does, by that margin; so a sleeping one is
 * squeezed first. It gives spare × difference / 4 at a time: a sleeper beside one that only waits has given half of what it can
 * in a second, and nothing moves where two stall alike. Frames that it has no use for it gives all at once, and waits for nobody. It
 * takes what is free if it has used all that it has, and nobody else is more urgent: beside others as much as it has out and a
 * quarter of what it has, for compilers end and begin, and the next one wants what the last one had; a little is left for processes that
 * only start. If they have overdrawn the run, those who can give do so before anything else; and who overdraws it to begin with an engine
 * waits for that, or all who begin together would hold more than there is.
 *
 * What is given is promised first, and belongs to the run when the pager has taken the frames offline: the sum of what processes
 * hold never exceeds the budget for the sake of a gift.
 */
#include "base/sys.h"
#include "live/clock.h"
#include "live/engine.h"

#define MARGIN 50               /* thousandths: what two may differ in stall without moving memory */
#define GIFT_PART 4             /* of spare × difference, one in so many is given at a look */
#define GIFT_MIN 16             /* pages: less is not worth a promise */
#define STANDS_PART 8           /* who has less to spare than this part of what we have is passed over */
#define TAKE_PART 4             /* beside others: beyond what is out, so much of what it has is taken at a time … */
#define TAKE_MIN (2 * MIB >> PAGE_SHIFT) /* … and this */
#define COME_FREE_PART 8        /* so much of the budget is free: a process has ended, and who has pages out does not wait for his next look */
#define LEAST_PART 8            /* nobody is squeezed below this part of an even share */
#define STARTERS_PART 2         /* of what the run may be overdrawn by, left free where processes start … */
#define STARTERS_PART_FEW 8     /* … and where there is only one beside us, a shell that waits for us mostly */
#define STARTER_PAGES (8 * MIB >> PAGE_SHIFT) /* who has no more than that counts as one who starts */
#define BEGIN_MS 250            /* so long a process that begins waits until others have repaid what it overdraws the run by */
#define HOARD_PART 3            /* whoever has this part of the budget while the run is short, and is not alone, is to have an engine */
#define PROMISE_NS 1000000000   /* 1 s: what is not offline by then stays ours */

/* The others, at one look. */
struct look {
	uint64_t engaged;       /* with us */
	uint64_t others;        /* alive, in whatever state */
	uint64_t overdrawn;     /* pages: what the run is, whoever gives */
	uint32_t most_urgent;
	uint32_t least_stalled; /* of those with spare pages */
};

/* spare: our own. Who could give much less than we can is not waited for, or he would stand in the way for ever. */
static void look(struct look *l, uint64_t spare)
{
	struct ledger *ledger = engine.ledger;

	*l = (struct look){ .engaged = 1, .overdrawn = ledger_overdrawn(ledger), .least_stalled = SHARE_URGENT };
	if (atomic_load(&ledger->debt_pages) > 0)
		l->most_urgent = SHARE_URGENT;
	for (uint32_t i = 0, used = atomic_load(&ledger->slots_used); i < used; i++) {
		struct ledger_slot *s = &ledger->slot[i];

		if (s == engine.slot || atomic_load_explicit(&s->pid, memory_order_relaxed) == 0)
			continue;
		l->others++;
		if (atomic_load_explicit(&s->state, memory_order_relaxed) != LEDGER_ENGAGED)
			continue;
		l->engaged++;
		l->most_urgent = MAX(l->most_urgent, atomic_load_explicit(&s->urgency, memory_order_relaxed));
		if (atomic_load_explicit(&s->spare, memory_order_relaxed) >= MAX(GIFT_MIN, spare / STANDS_PART))
			l->least_stalled = MIN(l->least_stalled, atomic_load_explicit(&s->stall, memory_order_relaxed));
	}
}

static uint64_t left_for_starters(const struct look *l)
{
	if (l->others == 0)
		return 0;
	return ledger_overdraft(engine.ledger) / (l->others > 1 ? STARTERS_PART : STARTERS_PART_FEW);
}

bool share_is_urgent(void)
{
	struct ledger *l = engine.ledger;

	if (ledger_overdrawn(l) > 0)
		return true;
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		if (atomic_load_explicit(&l->slot[i].urgency, memory_order_relaxed) == SHARE_URGENT)
			return true;
	return false;
}

bool share_has_come_free(void)
{
	return engine.slot->now.swapped > 0 && ledger_free(engine.ledger) > engine.ledger->ram_pages / COME_FREE_PART;
}

static void promise(uint64_t pages)
{
	engine.promised = pages;
	engine.promised_since = now_ns();
}

bool share_is_hoard(uint64_t pages)
{
	struct look others;

	if (pages < engine.ledger->ram_pages / HOARD_PART || !ledger_is_short(engine.ledger))
		return false;
	look(&others, 0);
	return others.others > 1;
}

uint64_t share_even(void)
{
	struct look others;

	look(&others, 0);
	return atomic_load(&engine.ledger->ram_pages) / (others.others + 1);
}

/* Another has something to spare. */
static bool somebody_can_give(const struct ledger *l)
{
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		const struct ledger_slot *s = &l->slot[i];

		if (s != engine.slot && atomic_load(&s->state) == LEDGER_ENGAGED && atomic_load(&s->spare) >= GIFT_MIN)
			return true;
	}
	return false;
}

void share_begin(uint64_t want)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct ledger *l = engine.ledger;
	struct ledger_slot *me = engine.slot;
	uint64_t got = 0;

	for (unsigned ms = 0; ms < BEGIN_MS; ms++) {
		got += ledger_grant(l, me, want - got);
		got += ledger_overdraw(l, me, want - got);
		if ((got == want && ledger_overdrawn(l) == 0) || !somebody_can_give(l))
			return;
		sys_nanosleep(&moment, NULL);
	}
}

void share_take(uint64_t want)
{
	struct ledger *l = engine.ledger;
	uint64_t free = ledger_free(l), leave = 0;
	struct look others;

	if (atomic_load(&engine.slot->granted) > STARTER_PAGES) {
		look(&others, 0);
		leave = left_for_starters(&others);
	}
	if (free > leave)
		ledger_grant(l, engine.slot, MIN(want, free - leave));
}

static uint32_t urgency(uint64_t granted, uint64_t floor, uint32_t stall)
{
	if (granted < floor || atomic_load(&engine.slot->oom) != LEDGER_OOM_NONE)
		return SHARE_URGENT;
	return engine.slot->now.swapped > 0 ? stall : 0;
}

/* What is taken and not used somebody else lacks until it is given back, and it takes a moment to say so: step by step. */
static uint64_t step(uint64_t granted, bool alone)
{
	return alone ? engine.ledger->ram_pages : engine.slot->now.swapped + granted / TAKE_PART + TAKE_MIN;
}

static void take_more(uint64_t granted, uint64_t floor, bool alone)
{
	struct ledger_slot *me = engine.slot;

	if (granted < floor) {
		ledger_demand(engine.ledger, me, floor - granted);
		return;
	}
	share_take(step(granted, alone));
	if (me->now.swapped > 0)
		ledger_squeeze(engine.ledger, me, me->now.swapped);
}

/* Of the pages that it can spare, how many it gives: to whoever is more urgent, or to those that start, who have overdrawn the run. */
static uint64_t gift(const struct look *l, uint64_t spare, uint64_t idle, uint32_t stall)
{
	uint64_t worse = l->most_urgent - MIN(l->most_urgent, stall), at_once = idle;

	/* Others could give sooner: only what is no use to us. */
	if (l->least_stalled + MARGIN < stall)
		return MIN(spare, idle);
	if (l->overdrawn > 0)
		at_once = MAX(at_once, DIV_ROUND_UP(l->overdrawn + left_for_starters(l), l->engaged));
	return MAX(MAX(spare * worse / (SHARE_URGENT * GIFT_PART), MIN(spare, at_once)), GIFT_MIN);
}

void share_look(struct share_use use)
{
	struct ledger_slot *me = engine.slot;
	uint32_t stall = atomic_load(&me->stall);
	struct look l;

	look(&l, atomic_load(&me->spare));
	uint64_t floor = MAX(use.needed, engine.ledger->ram_pages / (LEAST_PART * l.engaged));
	uint64_t granted = atomic_load(&me->granted), spare = granted > floor ? granted - floor : 0, pages = 0;
	bool others_worse = l.most_urgent > stall + MARGIN;

	if ((others_worse || l.overdrawn > 0) && spare >= GIFT_MIN)
		pages = gift(&l, spare, use.idle, stall);
	if (engine.promised == 0 && pages >= GIFT_MIN)
		promise(pages);
	else if (engine.promised == 0 && (granted < floor || (!others_worse && !use.asleep && use.idle == 0)))
		take_more(granted, floor, l.others == 0);
	atomic_store(&me->spare, spare);
	atomic_store(&me->urgency, urgency(atomic_load(&me->granted), use.needed, stall));
}

void share_break_promise(uint64_t needed)
{
	uint64_t granted = atomic_load(&engine.slot->granted);

	engine.promised = MIN(engine.promised, granted - MIN(granted, needed));
}

void share_keep_promise(uint64_t online, uint64_t target)
{
	struct engine *e = &engine;
	uint64_t late = online > target ? online - target : 0;

	if (e->promised == 0 || (late > 0 && now_ns() - e->promised_since < PROMISE_NS))
		return;
	uint64_t kept = e->promised > late ? e->promised - late : 0;

	e->promised = 0;
	ledger_return(e->ledger, e->slot, MIN(kept, atomic_load(&e->slot->granted)));
}

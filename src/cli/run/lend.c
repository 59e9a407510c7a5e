/*
 * A process without an engine holds what it may come to touch (live/native.c), what its books count that is gone again, and what an engine
 * would take. Of a shell, a make, the driver of a compiler, which wait for others, that is two to four times what they
 * have: in the linking of this project nine such processes held 17 of 63 MiB and used 6.
 *
 * So, when a run is short, what a process of some MiB does not have in memory is lent after it has met no page fault for a while: without a
 * fault its memory does not grow. Nothing is asked of it. When it goes on and maps memory it looks at its books as
 * always, and asks for what it lacks. When it touches what it has mapped before, its grant follows its memory from look to look, and
 * the run is overdrawn if nothing is free (live/share.c). How much it could touch between two looks is known, and bounded: of all whose
 * memory is lent together, and with what is overdrawn, by ledger_overdraft().
 */
#include "cli/run/lend.h"

#define STILL_NS 500000000                    /* 0.5 s without a fault */
#define LARGEST (16 * MIB >> PAGE_SHIFT)      /* who holds more could touch more before the next look than a run can do without */
#define MARGIN 16                             /* pages: what it may touch without having to wait for a look */
#define LEAST 32                              /* pages: less is not worth it */
#define MOST_PART 2                           /* of the overdraft; the rest is for processes that start */

/* So many pages of what it could touch count no more: it has them, or their place. */
static void settle(struct lend *d, struct lend_process *p, uint64_t pages)
{
	p->risk -= pages;
	atomic_fetch_sub(&d->ledger->lent_pages, pages);
}

void lend_forget(struct lend *d, unsigned i)
{
	struct lend_process *p = &d->process[i];

	if (p->pid == 0)
		return;
	settle(d, p, p->risk);
	*p = (struct lend_process){ 0 };
}

/* It has more than it was left. */
static void follow(struct lend *d, struct lend_process *p, struct ledger_slot *s, uint64_t part)
{
	uint64_t want = part + MARGIN - p->kept, got = ledger_grant(d->ledger, s, want);

	settle(d, p, MIN(p->risk, want));
	if (got < want)
		got += ledger_overdraw(d->ledger, s, want - got);
	p->kept += got;
}

static void lend(struct lend *d, struct lend_process *p, struct ledger_slot *s, uint64_t part)
{
	uint64_t granted = atomic_load(&s->granted), keep = part + MARGIN, risk;
	uint64_t most = ledger_overdraft(d->ledger), lent = atomic_load(&d->ledger->lent_pages);

	if (granted > LARGEST || granted < keep + LEAST || d->untouched(p->pid, LARGEST, &risk) != 0)
		return;
	if (lent + risk > most / MOST_PART || lent + risk + ledger_overdrawn(d->ledger) > most)
		return;
	if (!ledger_take_unused(d->ledger, s, keep))
		return;
	p->kept = keep;
	p->risk = risk;
	atomic_fetch_add(&d->ledger->lent_pages, risk);
}

void lend_look(struct lend *d, unsigned i, uint64_t faults, uint64_t part, uint64_t now)
{
	struct ledger_slot *s = &d->ledger->slot[i];
	struct lend_process *p = &d->process[i];
	int32_t pid = atomic_load(&s->pid);

	if (p->pid != pid || p->start_time != s->start_time) {
		lend_forget(d, i);
		*p = (struct lend_process){ .pid = pid, .start_time = s->start_time };
	}
	if (p->faults != faults)
		p->since = now;
	p->faults = faults;
	/* It has looked itself, or is another image: its grant is what it needs. */
	if (p->kept > 0 && atomic_load(&s->granted) != p->kept) {
		settle(d, p, p->risk);
		p->kept = 0;
	}
	if (p->kept > 0 && part + MARGIN / 2 > p->kept)
		follow(d, p, s, part);
	else if (p->kept == 0 && now - p->since >= STILL_NS && ledger_is_short(d->ledger))
		lend(d, p, s, part);
}

/*
 * Demotion: the pool passes pages that nobody has wanted for long on to the
 * areas below it, so that what is evicted now finds room there. Without it the
 * pool would keep for ever what was evicted first, and the disk would get what
 * is needed next. (Linux: zswap's writeback, mm/zswap.c shrink_memcg.)
 *
 * Which pages? Slots are not on a list: at 16 bytes a page there is no room for
 * links. A hand goes round the page tables; of every SAMPLE entries that it
 * passes the DEMOTE_BATCH oldest go, by the age that eviction left in the slot.
 * Choosing the oldest 16th of a sample comes close to the order of age.
 *
 * When? While there are still frames for pages of any size. Room inside of blocks is for pages of the block's size,
 * and a page that finds none goes below at once, although it is the youngest of all. So compaction makes frames of
 * that room first. What that cannot take is a part of a block of each size: little of a large pool; but in a small one
 * with pages of many sizes it is so much that nobody has to go while a quarter is unused, or the pool would hold few.
 *
 * A page is read into a bounce buffer, verified, written, and its entry changed
 * if it is still what it was; whoever faults on it meanwhile finds the old copy.
 */
#include "mm/reclaim/reclaim.h"

#include "base/assert.h"

_Static_assert(DEMOTE_BATCH <= STORE_BATCH, "one read, one write");

#define SAMPLE 256
#define STEPS 4096      /* entries of any kind that one search may pass */
#define MARGIN_FRAMES 16 /* that are kept free … */
#define MARGIN_SHIFT 4   /* … of a small pool a 16th */
#define LOOSE_SHIFT 2    /* a quarter is unused */

struct victim {
	struct mm *mm;
	vpn_t vpn;
	swp_t entry;
	uint32_t age;
};

/* Keeps v if it is among the oldest n; oldest first. */
static unsigned insert(struct victim *victims, unsigned n, struct victim v)
{
	unsigned i = n;

	if (n == DEMOTE_BATCH && victims[n - 1].age >= v.age)
		return n;
	if (n == DEMOTE_BATCH)
		i = --n;
	for (; i > 0 && victims[i - 1].age < v.age; i--)
		victims[i] = victims[i - 1];
	victims[i] = v;
	return n + 1;
}

/* The hand goes on: to the next address space at the end of one. */
static void hand_to_next(struct machine *m)
{
	m->hand.mm = m->hand.mm != NULL ? TAILQ_NEXT(m->hand.mm, link) : NULL;
	if (m->hand.mm == NULL)
		m->hand.mm = TAILQ_FIRST(&m->mms);
	m->hand.vpn = (vpn_t){ 0 };
}

static unsigned choose(struct machine *m, const struct swap_area *pool, struct victim *victims)
{
	const unsigned area = (unsigned)(pool - m->swap.area);
	const vpn_t end = { (uint64_t)1 << 36 };
	unsigned n = 0, seen = 0, laps = 0;

	for (unsigned step = 0; step < STEPS && seen < SAMPLE; step++) {
		pte_t pte;

		if (m->hand.mm == NULL || !pt_next(&m->hand.mm->pt, m->hand.vpn, end, &m->hand.vpn, &pte)) {
			if (TAILQ_EMPTY(&m->mms) || laps++ > 1)
				break;
			hand_to_next(m);
			continue;
		}
		struct victim v = { .mm = m->hand.mm, .vpn = m->hand.vpn };

		m->hand.vpn.n++;
		if (!pte_is_swap(pte) || swp_area(pte_swp(pte)) != area)
			continue;
		const struct swap_slot *slot = swap_slot_of(&m->swap, v.entry = pte_swp(pte));

		if ((slot->flags & (SLOT_SAME | SLOT_READING)) || slot->uses != 1)
			continue;
		v.age = workingset_slot_age(m, &m->lruvec[0], slot);
		n = insert(victims, n, v);
		seen++;
	}
	return n;
}

/* The entry names the new slot, if it is still what was chosen and no fault is about to use it. */
static bool commit(struct machine *m, const struct victim *v, const struct swap_io *io)
{
	pte_t pte = pt_get(&v->mm->pt, v->vpn);

	if (!pte_is_swap(pte) || pte_swp(pte).v != v->entry.v ||
	    (swap_slot_of(&m->swap, v->entry)->flags & SLOT_READING)) {
		swap_put(&m->swap, io->entry);
		return false;
	}
	const struct swap_slot *from = swap_slot_of(&m->swap, v->entry);
	struct swap_slot *to = swap_slot_of(&m->swap, io->entry);

	to->shadow = from->shadow;
	to->flags |= from->flags & SLOT_OLD;
	/* Replaces an entry that is not none: cannot fail. */
	pt_set(&v->mm->pt, v->vpn, pte_swap_make(io->entry));
	swap_put(&m->swap, v->entry);
	poolshare_demoted(m, v->age);
	COUNT(m, pgdemote);
	return true;
}

static unsigned demote(struct machine *m)
{
	const struct swap_area *pool = swap_pool(&m->swap);
	struct victim victims[DEMOTE_BATCH];
	struct swap_read read[DEMOTE_BATCH];
	struct swap_io io[DEMOTE_BATCH];
	unsigned n = choose(m, pool, victims), ready = 0, done = 0;

	for (unsigned i = 0; i < n; i++)
		read[i] = (struct swap_read){ .entry = victims[i].entry, .page = (void *)(uintptr_t)(m->bounce + i * PAGE_SIZE) };
	swap_read(&m->swap, read, n, machine_lock, machine_unlock, m);
	for (unsigned i = 0; i < n; i++) {
		/* One that cannot be read stays: the fault that wants it will say so. */
		if (read[i].err != 0)
			continue;
		victims[ready] = victims[i];
		io[ready++] = (struct swap_io){ .page = read[i].page, .sum = swap_slot_of(&m->swap, victims[i].entry)->sum };
	}
	swap_write_below(&m->swap, io, ready, pool->prio, machine_lock, machine_unlock, m);
	for (unsigned i = 0; i < ready; i++)
		if (io[i].err == 0)
			done += commit(m, &victims[i], &io[i]);
	return done;
}

unsigned demote_batch(struct machine *m)
{
	ASSERT(!m->reclaiming);
	/* Nobody else evicts meanwhile: a slot that is freed is not used again for the same page. */
	m->reclaiming = true;
	unsigned n = demote(m);
	m->reclaiming = false;
	return n;
}

static bool is_crowded(const struct store *s)
{
	return s->stat.pages > 0 && s->stat.frames + MIN(s->max_frames >> MARGIN_SHIFT, (uint64_t)MARGIN_FRAMES) >= s->max_frames;
}

static bool is_loose(const struct store *s)
{
	uint64_t room = s->stat.frames << PAGE_SHIFT, unused = room - MIN(room, s->stat.bytes);

	return unused >= room >> LOOSE_SHIFT;
}

bool demote_step(struct machine *m)
{
	const struct swap_area *pool = swap_pool(&m->swap);

	if (pool == NULL || !is_crowded(pool->store) || !swap_has_room(&m->swap, pool->prio))
		return false;
	struct store *s = pool->store;

	if (s->ops->shrink != NULL && s->ops->shrink(s) > 0)
		return true;
	return (s->stat.frames > s->max_frames || !is_loose(s)) && demote_batch(m) > 0;
}

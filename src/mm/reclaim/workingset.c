/*
 * Refault distance (Linux mm/workingset.c, Johannes Weiner).
 *
 * lruvec->age counts evictions and activations. A page that comes back after d of
 * them was missed by d positions: had the list been d pages longer, it would
 * still be resident. If d ≤ the active list, or what the policy names instead, it competes
 * with active pages and is activated at once.
 *
 * The slot keeps 8 bits of the age, in units of a bucket that is a 16th to
 * a quarter of resident memory. Finer ones are of no use to the question above,
 * and what is in a pool is out for that long (demote.c). Linux packs its shadow in
 * the same way (EVICTION_SHIFT, bucket_order), and takes it that an old one wraps and looks
 * young. Here a hand goes round the slots, faster than ages wrap. What is old by then goes
 * over to a second clock, SLOT_OLD, whose steps are 64 buckets: good for 16 000 of them.
 * Where nobody checks what comes back from a store (swap->unchecked), the place
 * of the checksum holds the age itself, and shadow whether the page was active;
 * but not on a model of the live engine, which is to see what that one does.
 */
#include "mm/reclaim/reclaim.h"

#include "base/size.h"

#define OLD_AGE 128    /* buckets */
#define LAP_BUCKETS 64 /* of the hand: two laps while a page is between OLD_AGE and wrapping; and a step of the second clock */
#define OLDEST 250     /* steps of the second clock: nothing is older */

#define ORDER_MIN 4

/* Every change blurs the shadows that are out: resident memory has to grow beyond 16 buckets, or fall below four. */
static void fit_bucket(struct lruvec *v)
{
	uint64_t resident = lru_resident(v);

	v->age_order = MAX(v->age_order, ORDER_MIN);
	while ((UINT64_C(16) << v->age_order) < resident)
		v->age_order++;
	while (v->age_order > ORDER_MIN && (UINT64_C(4) << v->age_order) > resident)
		v->age_order--;
}

uint64_t workingset_bucket(const struct lruvec *v)
{
	return UINT64_C(1) << v->age_order;
}

uint8_t workingset_shadow(struct lruvec *v)
{
	fit_bucket(v);
	return (uint8_t)(++v->age / workingset_bucket(v));
}

static uint8_t age_of(const struct lruvec *v, uint8_t shadow)
{
	return (uint8_t)((uint8_t)(v->age / workingset_bucket(v)) - shadow);
}

uint64_t workingset_distance(const struct lruvec *v, uint8_t shadow)
{
	return age_of(v, shadow) * workingset_bucket(v);
}

/* The shadow of a page of a file is 16 bits of the age, in units of a bucket that makes twice the memory fit. */
static unsigned file_order(const struct lruvec *v)
{
	unsigned order = 0;

	while ((UINT64_C(0x8000) << order) < 2 * lru_resident(v))
		order++;
	return order;
}

uint16_t workingset_file_shadow(struct lruvec *v)
{
	return (uint16_t)(++v->age >> file_order(v));
}

uint64_t workingset_file_distance(const struct lruvec *v, uint16_t shadow)
{
	unsigned order = file_order(v);

	return (uint64_t)(uint16_t)((uint16_t)(v->age >> order) - shadow) << order;
}

static bool keeps_age(const struct machine *m)
{
	return m->swap.unchecked && machine_has_accessed(m);
}

/* The second clock. */
static uint8_t laps(const struct lruvec *v)
{
	return (uint8_t)(v->age / workingset_bucket(v) / LAP_BUCKETS);
}

uint32_t workingset_slot_age(const struct machine *m, const struct lruvec *v, const struct swap_slot *slot)
{
	if (keeps_age(m))
		return ((uint32_t)v->age - slot->sum) / (uint32_t)workingset_bucket(v);
	if (slot->flags & SLOT_OLD)
		return OLD_AGE + (uint32_t)(uint8_t)(laps(v) - slot->shadow) * LAP_BUCKETS;
	return age_of(v, slot->shadow);
}

struct hand {
	struct machine *m;
	const struct lruvec *v;
	bool pool, below; /* goes round the pool's slots, or those of an area below it */
};

static void mark_old(void *ctx, struct swap_slot *slot)
{
	const struct hand *h = ctx;
	const struct lruvec *v = h->v;

	if (!(slot->flags & SLOT_OLD) && age_of(v, slot->shadow) >= OLD_AGE) {
		slot->flags |= SLOT_OLD;
		slot->shadow = laps(v);
	} else if ((slot->flags & SLOT_OLD) && (uint8_t)(laps(v) - slot->shadow) >= OLDEST) {
		slot->shadow = (uint8_t)(laps(v) - OLDEST);
	}
	if (h->pool)
		poolshare_seen(h->m, workingset_slot_age(h->m, v, slot));
	else if (h->below)
		poolshare_seen_below(h->m, slot, workingset_slot_age(h->m, v, slot));
}

/* Once a bucket: the hand goes on, so far that it is round in time. */
static void grow_old(struct machine *m, struct lruvec *v)
{
	if (v->age - v->aged < workingset_bucket(v))
		return;
	v->aged = v->age;
	const struct swap_area *pool = swap_pool(&m->swap);

	for (unsigned i = 0; i < m->swap.nr_areas; i++) {
		const struct swap_area *a = &m->swap.area[i];
		struct hand h = { .m = m, .v = v, .pool = a == pool, .below = pool != NULL && a->prio < pool->prio };

		swap_next_slots(&m->swap, i, DIV_ROUND_UP(a->nr_slots, LAP_BUCKETS), mark_old, &h);
	}
}

void workingset_evict(struct machine *m, const struct frame *f, struct swap_slot *slot)
{
	struct lruvec *v = lruvec_of(m, f);

	if (keeps_age(m)) {
		slot->shadow = (f->flags & FRAME_WORKINGSET) != 0;
		slot->sum = (uint32_t)v->age++;
		return;
	}
	slot->shadow = workingset_shadow(v);
	/* Of the slot's last page, or of the time in which it had no shadow yet. */
	slot->flags &= (uint8_t)~SLOT_OLD;
	grow_old(m, v);
}

bool workingset_swapin(struct machine *m, struct frame *f, const struct swap_slot *slot)
{
	struct lruvec *v = lruvec_of(m, f);

	if (!keeps_age(m))
		return !(slot->flags & SLOT_OLD) && workingset_hot(m, v, workingset_distance(v, slot->shadow), false);
	if (!workingset_hot(m, v, (uint32_t)v->age - slot->sum, false))
		return false;
	/* Only now does it matter whether it was active before it left. */
	if (slot->shadow)
		f->flags |= FRAME_WORKINGSET;
	return true;
}

bool workingset_hot(struct machine *m, struct lruvec *v, uint64_t distance, bool file)
{
	if (m->policy->workingset == NULL || distance > m->policy->workingset(m, v, file))
		return false;
	v->age++;
	return true;
}

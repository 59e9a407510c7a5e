/*
 * Refault distance (Linux mm/workingset.c, Johannes Weiner).
 *
 * lruvec->age counts evictions and activations. A page that comes back after d of
 * them was missed by d positions: had the list been d pages longer, it would
 * still be resident. If d ≤ the active list, or what the policy names instead, it competes
 * with active pages and is activated at once.
 *
 * The slot keeps 8 bits of the age, in units of a bucket that is a 16th of
 * resident memory, or a bit less; an age more than 255 buckets back wraps, and then a page
 * that was away for 16 working sets may look young. (Finer ones are of no use to
 * the question above, and what is in a pool is out for that long: demote.c.) Linux packs its shadow in
 * the same way (EVICTION_SHIFT, bucket_order) and accepts the same error.
 * Where nobody checks what comes back from a store (swap->unchecked), the place
 * of the checksum holds the age itself, and shadow whether the page was active;
 * but not on a model of the live engine, which is to wrap where that one does.
 */
#include "mm/reclaim/reclaim.h"

uint64_t workingset_bucket(const struct lruvec *v)
{
	uint64_t resident = lru_resident(v);
	unsigned order = 4;

	/* A power of two, so that it changes rarely: every change blurs the shadows that are out. */
	while (((uint64_t)16 << order) < resident)
		order++;
	return (uint64_t)1 << order;
}

uint8_t workingset_shadow(struct lruvec *v)
{
	return (uint8_t)(++v->age / workingset_bucket(v));
}

uint8_t workingset_age(const struct lruvec *v, uint8_t shadow)
{
	return (uint8_t)((uint8_t)(v->age / workingset_bucket(v)) - shadow);
}

uint64_t workingset_distance(const struct lruvec *v, uint8_t shadow)
{
	return workingset_age(v, shadow) * workingset_bucket(v);
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

void workingset_evict(struct machine *m, const struct frame *f, struct swap_slot *slot)
{
	struct lruvec *v = lruvec_of(m, f);

	slot->shadow = keeps_age(m) ? (f->flags & FRAME_WORKINGSET) != 0 : workingset_shadow(v);
	if (keeps_age(m))
		slot->sum = (uint32_t)v->age++;
}

bool workingset_swapin(struct machine *m, struct frame *f, const struct swap_slot *slot)
{
	struct lruvec *v = lruvec_of(m, f);

	if (!keeps_age(m)) {
		poolshare_refault(m, workingset_age(v, slot->shadow), (slot->flags & SLOT_DEMOTED) != 0);
		return workingset_hot(m, v, workingset_distance(v, slot->shadow), false);
	}
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

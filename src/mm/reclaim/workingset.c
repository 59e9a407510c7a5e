/*
 * Refault distance (Linux mm/workingset.c, Johannes Weiner).
 *
 * lru->age counts evictions and activations. A page that comes back after d of
 * them was missed by d positions: had the list been d pages longer, it would
 * still be resident. If d ≤ the active list, it competes with active pages and
 * is activated at once.
 *
 * The slot keeps 8 bits of the age, in units of a bucket that is a 64th of
 * resident memory; an age more than 255 buckets back wraps, and then a page
 * that was away for four working sets may look young. Linux packs its shadow in
 * the same way (EVICTION_SHIFT, bucket_order) and accepts the same error.
 */
#include "mm/reclaim/reclaim.h"

static uint64_t bucket(const struct lru *l)
{
	uint64_t resident = l->nr[LRU_ACTIVE] + l->nr[LRU_NEW] + l->nr[LRU_INACTIVE];
	unsigned order = 4;

	/* A power of two, so that it changes rarely: every change blurs the shadows that are out. */
	while (((uint64_t)64 << order) < resident)
		order++;
	return (uint64_t)1 << order;
}

uint8_t workingset_shadow(struct lru *l)
{
	return (uint8_t)(++l->age / bucket(l));
}

uint8_t workingset_age(const struct lru *l, uint8_t shadow)
{
	return (uint8_t)((uint8_t)(l->age / bucket(l)) - shadow);
}

bool workingset_refault(struct lru *l, uint8_t shadow)
{
	uint64_t distance = workingset_age(l, shadow) * bucket(l);

	if (distance > l->nr[LRU_ACTIVE])
		return false;
	l->age++;
	return true;
}

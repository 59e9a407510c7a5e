/* What zone.c needs of buddy.c beyond phys.h. */
#ifndef STW_MM_PHYS_BUDDY_H
#define STW_MM_PHYS_BUDDY_H

#include "base/assert.h"
#include "mm/phys/phys.h"

/*
 * The zone that holds a frame. By range, not by frame->zone: that would have
 * to be written into every frame of the machine when it comes online.
 */
static inline struct zone *zone_of(struct phys *p, uint32_t pfn)
{
	for (unsigned i = 0; i < p->nr_zones; i++) {
		if (pfn - p->zones[i].start.n < p->zones[i].spanned)
			return &p->zones[i];
	}
	ASSERT(!"frame in no zone");
	return NULL;
}

/* The type of the pageblock around a block; a block of that size or larger has none, and counts as the first. */
static inline enum migrate_type buddy_type(const struct phys *p, uint32_t pfn, unsigned order)
{
	return order >= PAGEBLOCK_ORDER ? MIGRATE_MOVABLE : (enum migrate_type)p->frames[ALIGN_DOWN(pfn, PAGEBLOCK_FRAMES)].type;
}

/*
 * As frame_free, but the block is put where it is taken last: memory that has
 * just come online is used in address order, and after what was there before.
 * Its whole pageblocks have no type.
 */
void buddy_free_last(struct phys *p, struct frame *f, unsigned order);

#endif

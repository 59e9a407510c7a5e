/* What zone.c needs of buddy.c beyond phys.h. */
#ifndef STW_MM_PHYS_BUDDY_H
#define STW_MM_PHYS_BUDDY_H

#include "mm/phys/phys.h"

/*
 * As frame_free, but the block is put where it is taken last: memory that has
 * just come online is used in address order, and after what was there before.
 */
void buddy_free_last(struct phys *p, struct frame *f, unsigned order);

#endif

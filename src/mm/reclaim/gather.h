/* Frames of neighbours are exchanged until they are neighbours: gather.c. */
#ifndef STW_MM_RECLAIM_GATHER_H
#define STW_MM_RECLAIM_GATHER_H

#include "mm/machine.h"

#define BLOCK_ORDER 4 /* 16 frames: what is put together, and fault.c takes for windows; larger blocks are too seldom free */

/*
 * frames[] are the frames of n pages that are away, locked and off the LRU, in
 * order of address. Afterwards they are the frames of the same pages, and those
 * of contiguous pages are contiguous as far as that was worth it.
 */
void gather(struct machine *m, struct frame **frames, unsigned n);

#endif

/* heapmap.c: every region of the heap, and the blocks that have a mapping of their own. */
#ifndef STW_MALLOC_HEAPMAP_H
#define STW_MALLOC_HEAPMAP_H

#include <stddef.h>

/* A block with a mapping of its own is there, or is about to go. */
void heapmap_mapped(const void *mem, size_t bytes);
void heapmap_unmapped(const void *mem);

#endif

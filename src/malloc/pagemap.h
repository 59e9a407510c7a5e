/*
 * From an address to the slab it lies in, outside of all blocks, so that
 * nothing a program hands in is followed before it is known to be ours.
 *
 *   address ─► >> 25: root, one entry for 32 MiB ─► leaf, one entry a page ─► slab, or NULL
 *
 * Two loads. The root is zeroed memory of which a program touches a page or two;
 * a leaf is 64 KiB, of which one page serves 2 MiB of slabs.
 */
#ifndef STW_MALLOC_PAGEMAP_H
#define STW_MALLOC_PAGEMAP_H

#include <stdatomic.h>

#include "base/types.h"

#define PAGEMAP_ADDRESS_BITS 47
#define PAGEMAP_LEAF_SHIFT 25
#define PAGEMAP_LEAF_PAGES ((size_t)1 << (PAGEMAP_LEAF_SHIFT - PAGE_SHIFT))
#define PAGEMAP_ROOT ((size_t)1 << (PAGEMAP_ADDRESS_BITS - PAGEMAP_LEAF_SHIFT))

struct slab;

typedef _Atomic(struct slab *) pagemap_entry;

extern _Atomic(pagemap_entry *) pagemap_root[PAGEMAP_ROOT];

/* The slab of any address, or NULL. One that no program can have may get the slab of another: slab_slot finds out. */
static inline struct slab *pagemap_slab(const void *addr)
{
	uintptr_t a = (uintptr_t)addr;
	pagemap_entry *leaf = atomic_load_explicit(&pagemap_root[a >> PAGEMAP_LEAF_SHIFT & (PAGEMAP_ROOT - 1)],
						   memory_order_acquire);

	if (unlikely(leaf == NULL))
		return NULL;
	return atomic_load_explicit(&leaf[a >> PAGE_SHIFT & (PAGEMAP_LEAF_PAGES - 1)], memory_order_acquire);
}

/* Makes room for the pages from addr (page-aligned) on; false: no memory. */
bool pagemap_reserve(uintptr_t addr, size_t pages);

/* What the pages belong to from now on; they are reserved. */
void pagemap_set(uintptr_t addr, size_t pages, struct slab *s);

#endif

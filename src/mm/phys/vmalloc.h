/*
 * vmalloc: virtually contiguous kernel memory from single frames (mm/vmalloc.c).
 * Free address ranges are kept in a tree with the largest size below each node;
 * the lowest address that fits wins; one guard page follows every area.
 */
#ifndef STW_MM_PHYS_VMALLOC_H
#define STW_MM_PHYS_VMALLOC_H

#include <bsd/sys/tree.h>

#include "mm/phys/slab.h"

struct vmap_area;
RB_HEAD(vmap_tree, vmap_area);

struct vmalloc {
	struct phys *phys;
	uint64_t start, end;  /* address range, page aligned */
	/* Makes frames[0..n) readable and writable at address; 0 or -errno. Undo: vunmap. */
	int (*vmap)(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n);
	void (*vunmap)(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n);
	void *ctx;
	struct kmalloc *kmalloc;
	struct kmem_cache areas;
	struct vmap_tree free, busy;
	enum alloc_depth depth; /* for the pages; ALLOC_LOW until it is set */
	uint64_t nr_pages; /* frames in use */
};

/* Needs one frame. The hooks are NULL afterwards, to be set before the first vmalloc. -EINVAL: unaligned or empty range, or 0 in it. */
int vmalloc_init(struct vmalloc *v, struct phys *p, struct kmalloc *k, uint64_t start, uint64_t end);
/* size bytes, rounded up to pages; zeroed is not promised. Returns the address, or 0 without memory or address space. */
uint64_t vmalloc(struct vmalloc *v, size_t size);
/* address as vmalloc returned it. */
void vfree(struct vmalloc *v, uint64_t address);
/* Every area must have been freed. */
void vmalloc_destroy(struct vmalloc *v);
void vmalloc_check(const struct vmalloc *v);

#endif

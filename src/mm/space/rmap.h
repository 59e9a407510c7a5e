/*
 * Reverse mapping: which areas map a page of an object. An object is a file
 * (Linux's address_space and its i_mmap) or a family of anonymous areas that
 * came from one another by fork or split (Linux's anon_vma, flat). The caller
 * holds the machine's lock.
 */
#ifndef STW_MM_SPACE_RMAP_H
#define STW_MM_SPACE_RMAP_H

#include <bsd/sys/tree.h>

#include "mm/phys/slab.h"
#include "mm/types.h"

struct vma;

/* An area's place in one tree. vma is NULL while it is in none. */
struct rmap_node {
	RB_ENTRY(rmap_node) link;
	uint64_t subtree_last; /* the last pgoff that an area of this subtree covers */
	struct vma *vma;
};

RB_HEAD(rmap_tree, rmap_node);

/*
 * Law: the tree holds nr areas in the order of their pgoff, every one of them names this object, and subtree_last is
 * right; refs ≥ nr where slab is not NULL, else 0.
 */
struct rmap {
	struct rmap_tree tree;
	uint32_t nr;
	uint32_t refs;           /* of a family: its areas, and whoever else called rmap_get */
	struct kmem_cache *slab; /* where a family goes when refs falls to 0; NULL: part of a file */
};

/* The object of a file, without areas. Its owner keeps it until nr is 0 again. */
void rmap_init(struct rmap *r);
/* A new family with one reference, the caller's, from a cache of struct rmap. NULL: no memory. */
struct rmap *rmap_alloc(struct kmem_cache *slab);
/* One more reference to a family; returns it. NULL and the object of a file are passed through. */
struct rmap *rmap_get(struct rmap *r);
/* Gives a reference to a family back; the last one frees it. NULL and the object of a file are left alone. */
void rmap_put(struct rmap *r);

/*
 * The area enters or leaves the tree of a file (vma->file) or of its family (vma->anon): vma.c's to call. References
 * stay as they are. Start, end and pgoff may change only between rmap_del and rmap_add; where only the end moved,
 * rmap_resized will do.
 */
void rmap_add(struct rmap *r, struct vma *vma);
void rmap_del(struct rmap *r, struct vma *vma);
void rmap_resized(struct rmap *r, struct vma *vma);

/*
 * The areas that cover a page of [first, last], in the order of their pgoff; those of equal pgoff in the order in
 * which they came. NULL: no (further) one. The tree must not change between the calls.
 */
struct vma *rmap_first_in(struct rmap *r, uint64_t first, uint64_t last);
struct vma *rmap_next_in(struct rmap *r, struct vma *vma, uint64_t first, uint64_t last);

/*
 * The areas that cover pgoff. vma_vpn(vma, pgoff) is where. Whether the page is mapped there, and whether it is this
 * one (an area whose family is shared may have a copy of its own), only the page table knows.
 */
static inline struct vma *rmap_first(struct rmap *r, uint64_t pgoff) { return rmap_first_in(r, pgoff, pgoff); }
static inline struct vma *rmap_next(struct rmap *r, struct vma *vma, uint64_t pgoff)
{
	return rmap_next_in(r, vma, pgoff, pgoff);
}

/* Is the area in this tree? O(log n). */
bool rmap_holds(const struct rmap *r, const struct vma *vma);
/* Executes the law. */
void rmap_check(struct rmap *r);

#endif

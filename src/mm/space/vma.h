/*
 * Virtual memory areas: one address-ordered linked list and one red-black tree
 * over the same objects, with Linux's merge and split rules (mm/mmap.c as of
 * 3.8 to 6.0, before the maple tree). The caller holds the machine's lock.
 */
#ifndef STW_MM_SPACE_VMA_H
#define STW_MM_SPACE_VMA_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "mm/phys/slab.h"
#include "mm/space/rmap.h"
#include "mm/types.h"

struct mm;

enum vma_flag {
	VMA_READ = 1 << 0,
	VMA_WRITE = 1 << 1,
	VMA_EXEC = 1 << 2,
	VMA_SHARED = 1 << 3,
	VMA_GROWSDOWN = 1 << 4,
	VMA_LOCKED = 1 << 5,     /* mlock: never reclaimed */
	VMA_HEAP = 1 << 6,       /* the brk area */
	VMA_STACK = 1 << 7,
	VMA_NATIVE = 1 << 8,     /* sim/native.c's */
};

struct vm_file; /* a file as the page cache knows it (backing/pagecache.h); begins with its struct rmap */

#define VMA_STREAMS 8

/* One detected access stream; readahead.c owns the meaning. All zero: unused. */
struct vma_stream {
	uint64_t last;   /* vpn of its last fault */
	uint64_t next;   /* window > 0: the first page beyond the last window, where the next fault should fall */
	int16_t stride;  /* pages, may be negative; 0 = not known yet */
	uint8_t window;  /* pages in the last window; 0 = no window was ever opened, or it was closed */
	uint8_t proofs;  /* faults in a row that agreed on the stride, before the window opens; then, that fell on `next` itself */
	uint16_t hits;   /* faults that fell where it said since the window opened, saturating */
	uint8_t ahead;   /* pages of it from next on that have been asked for before anybody touched them */
	uint8_t depth;   /* so many windows should have been */
	uint32_t used;   /* stamp of the last fault, for replacement; 0 = unused */
};

_Static_assert(sizeof(struct vma_stream) <= 32, "eight of them stand in every area");

/*
 * Law: start < end; areas do not overlap; list order is address order; list and
 * tree hold the same areas; mergeable neighbours are merged; subtree_gap is the
 * largest gap below any area of the tree under it. An area is in the tree of
 * its file if it has one, and in that of its family (a reference) if it has one.
 */
struct vma {
	/* What a search reads stands side by side. */
	vpn_t start, end;     /* [start, end) */
	RB_ENTRY(vma) node;
	uint64_t subtree_gap; /* pages between an area and the one before it, the largest in this subtree */
	uint32_t flags;       /* enum vma_flag */
	uint8_t doubt;        /* readahead.c's: proofs that a stream needs here beyond the usual */
	TAILQ_ENTRY(vma) link;
	struct mm *mm;        /* whose address space */
	struct vm_file *file; /* NULL: anonymous memory */
	struct rmap *anon;    /* the family of its own pages; NULL until fork first shared them */
	uint64_t pgoff;       /* file: page offset of start; anonymous: start's vpn when it was made */
	struct rmap_node on_file, on_anon; /* rmap.c's */
	struct vma_stream streams[VMA_STREAMS];
};

TAILQ_HEAD(vma_list, vma);
RB_HEAD(vma_tree, vma);

struct vma_set {
	struct vma_list list;
	struct vma_tree tree;
	uint32_t count;
	uint64_t pages;        /* Σ end - start */
	struct vma *cache;     /* found last */
	struct kmem_cache *slab; /* of struct vma */
	struct mm *mm;         /* of every area */
};

/* mm is what the areas will call theirs; slab a cache of struct vma. */
void vma_set_init(struct vma_set *s, struct mm *mm, struct kmem_cache *slab);
void vma_set_destroy(struct vma_set *s);

/* Where the area shows page pgoff of its object, which it must cover. */
static inline vpn_t vma_vpn(const struct vma *v, uint64_t pgoff)
{
	return (vpn_t){ v->start.n + (pgoff - v->pgoff) };
}
/* The page of its object that the area shows at vpn. */
static inline uint64_t vma_pgoff(const struct vma *v, vpn_t vpn) { return v->pgoff + (vpn.n - v->start.n); }
/* The reverse mapping of the area's file, NULL for anonymous memory. */
static inline struct rmap *vma_file_rmap(const struct vma *v) { return (struct rmap *)v->file; }

/* The area that holds vpn, or NULL. */
struct vma *vma_find(struct vma_set *s, vpn_t vpn);
/* The first area that ends above vpn, or NULL (Linux's find_vma). */
struct vma *vma_find_above(struct vma_set *s, vpn_t vpn);
/* Any area that overlaps [start, end), lowest first, or NULL. */
struct vma *vma_overlap(struct vma_set *s, vpn_t start, vpn_t end);

/*
 * Adds [start, end), which must be free, and merges with neighbours of equal
 * flags and file and continuing pgoff, unless they are of two families. Returns
 * the area, or NULL (-ENOMEM).
 */
struct vma *vma_insert(struct vma_set *s, vpn_t start, vpn_t end, uint32_t flags, struct vm_file *file, uint64_t pgoff);
/* Removes everything in [start, end), splitting areas at the borders. 0 or -ENOMEM (nothing changed). */
int vma_remove(struct vma_set *s, vpn_t start, vpn_t end);
/* Sets and clears flag bits on everything in [start, end): splits, then merges. 0 or -ENOMEM (nothing changed). */
int vma_change(struct vma_set *s, vpn_t start, vpn_t end, uint32_t set, uint32_t clear);
/* Moves what lies in [from, from + n) to [to, to + n), which must be free, keeping pgoff and flags (mremap). 0 or -ENOMEM (nothing changed). */
int vma_move(struct vma_set *s, vpn_t from, vpn_t to, uint64_t n);
/*
 * fork, for each area whose pages the child is to share: vma_share gives the area a family if it has none (that of a
 * neighbour that it could be merged with but for its flags, else a new one from `families`, a cache of struct rmap),
 * then vma_copy adds the same area, of the same family and file, to the child's set s, where its place must be free.
 * Copies are not merged: they stand as their originals do.
 */
/* 0 or -ENOMEM (nothing changed). */
int vma_share(struct vma *v, struct kmem_cache *families);
/* NULL: no memory. */
struct vma *vma_copy(struct vma_set *s, const struct vma *v);
/*
 * The highest gap of n pages that ends at or below ceiling and starts at or above floor (top-down mmap); *found
 * gets its start. -ENOMEM: no such gap.
 */
int vma_gap(struct vma_set *s, vpn_t floor, vpn_t ceiling, uint64_t n, vpn_t *found);
void vma_check(struct vma_set *s);

#endif

/*
 * Radix page tables of 1 to 5 levels whose nodes are frames of the machine
 * (x86-64: 4 levels of 512 entries). Each node counts its live entries and is
 * freed when the last one goes. The caller holds the machine's lock.
 */
#ifndef STW_MM_SPACE_PAGETABLE_H
#define STW_MM_SPACE_PAGETABLE_H

#include "mm/phys/phys.h"
#include "mm/space/pte.h"

#define PT_LEVELS_MAX 5
#define PT_VPN_BITS_MAX 52 /* 64-bit addresses */
#define PT_DEPTH_MAX 7     /* 5 levels, of which 52 bits allow at most two wider than a block */
#define PT_TWIGS 8         /* a power of two; with 4 levels of 9 bits each is 1 GiB of addresses */

/*
 * Law: every node but a leaf has a child or a huge page, and a leaf without
 * entries was asked for by pt_reserve; private[0] of a node's frame is the
 * number of its live entries; nr_nodes, level_frames and nr_entries are the
 * sums over the tree; the cached leaf and twigs are in the tree; a huge page is present
 * and its frames are aligned to its size.
 */
struct pagetable {
	struct phys *phys;
	uint8_t levels;
	uint8_t bits[PT_LEVELS_MAX]; /* index bits per level, leaf first; 9 each on x86-64 */
	/* The same as built: a level wider than a block is two (pagetable.c). Leaf first. */
	uint8_t depth;
	uint8_t width[PT_DEPTH_MAX]; /* index bits */
	uint8_t shift[PT_DEPTH_MAX]; /* of the index in the vpn */
	uint8_t level_of[PT_DEPTH_MAX]; /* the level that it is, or is half of */
	uint32_t last[PT_DEPTH_MAX]; /* the last index */
	uint64_t vpn_end;
	uint8_t twig_shift; /* of the number of a node of depth 1 */
	uint8_t *direct_map;         /* phys's */
	pte_t *root;                 /* the root node; NULL until the first entry */
	uint32_t nr_nodes;           /* frames used */
	uint32_t level_frames[PT_LEVELS_MAX]; /* the same, by level, leaf first */
	uint64_t nr_entries;         /* leaf entries that are not none; a huge page counts as all that it stands for */
	uint64_t reserve_serial;     /* of the pt_reserve call that runs or ran last */
	/* Cache of the leaf node looked up last: key is vpn >> width[0], UINT64_MAX when empty. */
	uint64_t leaf_key;
	pte_t *leaf;
	/* Cache of twigs, the nodes just above leaves: each at its key, vpn >> twig_shift, modulo PT_TWIGS. */
	struct {
		uint64_t key; /* UINT64_MAX: none */
		pte_t *entries;
	} twig[PT_TWIGS];
};

/*
 * levels 1 to 5; bits (leaf first) may be NULL for 9 each. A node larger than a page takes a block, one larger than
 * 4 MiB several. -EINVAL: no such geometry, or more than 52 bits.
 */
int pt_init(struct pagetable *pt, struct phys *p, unsigned levels, const uint8_t *bits);
/* Frees every node; entries are forgotten. */
void pt_destroy(struct pagetable *pt);

/* What is cached is looked up again: for a table that was copied while somebody read it. */
void pt_forget_cached(struct pagetable *pt);
/*
 * The entry of vpn; none when it, or its node, is absent. Any vpn may be asked for. Inside a huge page: an entry of
 * this one page, the huge one's flags with PTE_HUGE among them and the pfn of its own frame.
 */
static inline pte_t pt_get(struct pagetable *pt, vpn_t vpn);
/*
 * Sets the entry; PTE_HUGE in it is ignored. Setting none frees nodes that become empty and cannot fail;
 * replacing an entry that is not none cannot fail. Otherwise -ENOMEM. vpn must be in the table's range.
 * Inside a huge page this splits it first: whatever is set, -ENOMEM is possible.
 */
int pt_set(struct pagetable *pt, vpn_t vpn, pte_t pte);
/*
 * Makes sure that pt_set in [start, end) cannot fail until the next pt_set to none in a leaf touched by it, or
 * pt_set_huge. A leaf that stays empty is given back by pt_set of none anywhere in it. Splits huge pages.
 * -ENOMEM: no entry changed, but huge pages may be split.
 */
int pt_reserve(struct pagetable *pt, vpn_t start, vpn_t end);
/*
 * Finds the first entry in [from, end) that is not none. False when there is none. Pages of a huge page come one by
 * one, as pt_get has them.
 */
bool pt_next(struct pagetable *pt, vpn_t from, vpn_t end, vpn_t *at, pte_t *pte);

/* Pages of 4 KiB in a huge page: as many as a leaf has; 0 where there is none: one level, or a leaf of several blocks. */
uint64_t pt_huge_pages(const struct pagetable *pt);
/*
 * Puts one entry in place of the leaf of vpn. vpn and the frames of pte, which is present, are aligned to
 * pt_huge_pages; no entry of these pages may be other than none, but a huge page may be replaced: that cannot fail.
 * None takes a huge page away, if there is one, and cannot fail. -ENOMEM.
 */
int pt_set_huge(struct pagetable *pt, vpn_t vpn, pte_t pte);
/* Any vpn may be asked for. */
bool pt_is_huge(struct pagetable *pt, vpn_t vpn);

/*
 * What a hardware walker reads: steps[i] points to the entry of level levels-1-i on vpn's way, root first; a wide
 * level is one step. The last step is the entry of a leaf, a huge page, or none. Returns the number of steps; 0: no
 * root, or vpn out of range. The pointers are good until the next call that sets or reserves.
 */
unsigned pt_walk(struct pagetable *pt, vpn_t vpn, pte_t *steps[PT_LEVELS_MAX]);
/*
 * The entry of vpn where it stands, if it is not none; else NULL. Whoever asks may replace it by another that is not none.
 * It is good until the next call that sets or reserves. Any vpn may be asked for. Inside a huge page: that one's entry.
 */
static inline pte_t *pt_find(struct pagetable *pt, vpn_t vpn);
/* The place of vpn's entry in its leaf, whatever stands there; NULL: there is no leaf. Otherwise as pt_find. */
static inline pte_t *pt_place(struct pagetable *pt, vpn_t vpn);
/*
 * The entry of vpn will be wanted soon: its cache line is fetched. Where it is, NULL: nowhere. Any vpn may be asked for; what is
 * read there later is an entry only if the table has not changed.
 */
static inline const pte_t *pt_prefetch(struct pagetable *pt, vpn_t vpn);
void pt_check(struct pagetable *pt);

/*
 * What every fault, walk and look of reclaim begins with. Here because the calls would cost as much as the work.
 */

/* The entry that names vpn's leaf, or should, in a twig that is not remembered; NULL: there is no such node. */
pte_t *pt_twig_find(struct pagetable *pt, vpn_t vpn);
/* The place of vpn's entry where there is one level, and nothing above it; else NULL. */
pte_t *pt_only_leaf(struct pagetable *pt, vpn_t vpn);
/* For pt_get and pt_find, where there is no leaf. */
pte_t pt_get_huge(const struct pagetable *pt, vpn_t vpn);
pte_t *pt_find_huge(const struct pagetable *pt, vpn_t vpn);

/* The entry that names vpn's leaf, or should; NULL: there is no node for it, or only one level. */
static inline pte_t *pt_above(struct pagetable *pt, vpn_t vpn)
{
	uint64_t key = vpn.n >> pt->twig_shift;

	if (unlikely(pt->twig[key % PT_TWIGS].key != key))
		return pt_twig_find(pt, vpn);
	return pt->twig[key % PT_TWIGS].entries + (vpn.n >> pt->shift[1] & pt->last[1]);
}

/* Does an entry above a leaf name a table? */
static inline bool pt_names_table(pte_t above)
{
	return (above.v & (PTE_PRESENT | PTE_HUGE)) == PTE_PRESENT;
}

/* The place of vpn's entry in the leaf that is named. */
static inline pte_t *pt_below(const struct pagetable *pt, pte_t above, vpn_t vpn)
{
	/* There is nothing between the bits of its frame and those of its flags. */
	return (pte_t *)(pt->direct_map + (above.v & PTE_PFN_MASK)) + (vpn.n & pt->last[0]);
}

/* As pt_place, for a page that is not near the last: no leaf is remembered for it. */
static inline pte_t *pt_seek(struct pagetable *pt, vpn_t vpn)
{
	const pte_t *above = pt_above(pt, vpn);

	return likely(above != NULL && pt_names_table(*above)) ? pt_below(pt, *above, vpn) : pt_only_leaf(pt, vpn);
}

static inline pte_t *pt_place(struct pagetable *pt, vpn_t vpn)
{
	if (vpn.n >> pt->width[0] == pt->leaf_key)
		return pt->leaf + (vpn.n & pt->last[0]);
	pte_t *place = pt_seek(pt, vpn);

	if (likely(place != NULL)) {
		pt->leaf_key = vpn.n >> pt->width[0];
		pt->leaf = place - (vpn.n & pt->last[0]);
	}
	return place;
}

static inline pte_t pt_get(struct pagetable *pt, vpn_t vpn)
{
	const pte_t *place = pt_place(pt, vpn);

	return likely(place != NULL) ? *place : pt_get_huge(pt, vpn);
}

static inline pte_t *pt_find(struct pagetable *pt, vpn_t vpn)
{
	pte_t *place = pt_seek(pt, vpn);

	if (unlikely(place == NULL))
		return pt_find_huge(pt, vpn);
	return pte_is_none(*place) ? NULL : place;
}

static inline const pte_t *pt_prefetch(struct pagetable *pt, vpn_t vpn)
{
	const pte_t *place = pt_seek(pt, vpn);

	if (likely(place != NULL))
		__builtin_prefetch(place, 1);
	return place;
}

#endif

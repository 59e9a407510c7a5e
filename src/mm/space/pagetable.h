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

/*
 * Law: every node but a leaf has a child, and a leaf without entries was asked
 * for by pt_reserve; private[0] of a node's frame is the number of its live
 * entries; nr_nodes and nr_entries are the sums over the tree; the cached leaf
 * is in the tree.
 */
struct pagetable {
	struct phys *phys;
	uint8_t levels;
	uint8_t bits[PT_LEVELS_MAX]; /* index bits per level, leaf first; 9 each on x86-64 */
	/* The same as built: a level wider than a block is two (pagetable.c). Leaf first. */
	uint8_t depth;
	uint8_t width[PT_DEPTH_MAX]; /* index bits */
	uint8_t shift[PT_DEPTH_MAX]; /* of the index in the vpn */
	struct frame *root;          /* NULL until the first entry */
	uint32_t nr_nodes;           /* frames used */
	uint64_t nr_entries;         /* leaf entries that are not none */
	uint64_t reserve_serial;     /* of the pt_reserve call that runs or ran last */
	/* Cache of the leaf node looked up last: key is vpn >> width[0], UINT64_MAX when empty. */
	uint64_t leaf_key;
	pte_t *leaf;
};

/*
 * levels 1 to 5; bits (leaf first) may be NULL for 9 each. A node larger than a page takes a block, one larger than
 * 4 MiB several. -EINVAL: no such geometry, or more than 52 bits.
 */
int pt_init(struct pagetable *pt, struct phys *p, unsigned levels, const uint8_t *bits);
/* Frees every node; entries are forgotten. */
void pt_destroy(struct pagetable *pt);

/* The cached leaf is looked up again: for a table that was copied while somebody read it. */
void pt_forget_leaf(struct pagetable *pt);
/* The entry of vpn; none when it, or its node, is absent. Any vpn may be asked for. */
pte_t pt_get(struct pagetable *pt, vpn_t vpn);
/*
 * Sets the entry. Setting none frees nodes that become empty and cannot fail;
 * replacing an entry that is not none cannot fail. Otherwise -ENOMEM. vpn must be in the table's range.
 */
int pt_set(struct pagetable *pt, vpn_t vpn, pte_t pte);
/*
 * Makes sure that pt_set in [start, end) cannot fail until the next pt_set to none in a leaf touched by it. A leaf
 * that stays empty is given back by pt_set of none anywhere in it. -ENOMEM (nothing changed).
 */
int pt_reserve(struct pagetable *pt, vpn_t start, vpn_t end);
/* Finds the first entry in [from, end) that is not none. False when there is none. */
bool pt_next(struct pagetable *pt, vpn_t from, vpn_t end, vpn_t *at, pte_t *pte);
void pt_check(struct pagetable *pt);

#endif

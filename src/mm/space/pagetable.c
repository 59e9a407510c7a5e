/*
 * Radix page tables in frames.
 *
 *      root ──►┌───┬───┬─ … ─┐        level depth-1
 *              │ ● │   │     │        entry: present, pfn of the node below
 *              └─┼─┴───┴─ … ─┘
 *                └──►┌───┬───┬─ … ─┐  level 0, a leaf
 *                    │pte│pte│     │  entry: pte.h
 *                    └───┴───┴─ … ─┘
 *
 * A node is a block of frames at home in the direct map, zeroed when it is
 * made. Like a kernel's, it counts against the machine's memory. The number of
 * its live entries stands in private[0] of its first frame; a node whose last
 * entry goes is freed at once, so an address space that shrinks gives its
 * tables back without a separate pass (Linux frees them only at munmap).
 *
 * Width. Nodes of up to 9 bits take one frame, up to 19 bits one block of the
 * buddy system. A wider level, say one level of 2^20 entries, which is 8 MiB,
 * has no block that could hold it, so its node is made of several 4 MiB blocks
 * under a directory of one frame: the level is built as two. To callers it is
 * still one level; halves that nobody uses take no memory.
 *
 * Failure. A fault must be answered, so nodes may come out of the reserve that
 * phys keeps below MIN. When even that is empty, nodes made on the way are
 * taken back and the table is as before.
 *
 * Cost. Faults cluster: the leaf used last is remembered, and get and set on it
 * are one compare, one load, one store and a counter. Otherwise one load a
 * level. pt_next skips an absent node of any size with the loads that find it.
 */
#include "mm/space/pagetable.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define BLOCK_BITS (MAX_PAGE_ORDER + PAGE_SHIFT - 3) /* entries of 8 bytes in the largest block: 2^19 */
#define NO_LEAF UINT64_MAX

/* What a node's entry for the node below looks like to x86: rights are decided in the leaf. */
#define PTE_TABLE (PTE_WRITE | PTE_USER | PTE_ACCESSED)

static uint64_t *live(struct frame *node)
{
	return &node->private[0];
}

static uint64_t *reserved_by(struct frame *node)
{
	return &node->private[1];
}

static unsigned vpn_bits(const struct pagetable *pt)
{
	return pt->shift[pt->depth - 1] + pt->width[pt->depth - 1];
}

static bool in_range(const struct pagetable *pt, vpn_t vpn)
{
	return vpn.n >> vpn_bits(pt) == 0;
}

static size_t slots(const struct pagetable *pt, unsigned level)
{
	return (size_t)1 << pt->width[level];
}

static size_t slot_of(const struct pagetable *pt, unsigned level, vpn_t vpn)
{
	return (vpn.n >> pt->shift[level]) & (slots(pt, level) - 1);
}

static unsigned node_order(const struct pagetable *pt, unsigned level)
{
	unsigned bytes_shift = pt->width[level] + 3u;

	return bytes_shift > PAGE_SHIFT ? bytes_shift - PAGE_SHIFT : 0;
}

static pte_t *node_entries(const struct pagetable *pt, const struct frame *node)
{
	return frame_home(pt->phys, node);
}

static struct frame *node_below(const struct pagetable *pt, pte_t entry)
{
	return pfn_frame(pt->phys, pte_pfn(entry));
}

int pt_init(struct pagetable *pt, struct phys *p, unsigned levels, const uint8_t *bits)
{
	unsigned total = 0;

	if (levels < 1 || levels > PT_LEVELS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < levels; i++) {
		unsigned width = bits != NULL ? bits[i] : 9;

		total += width;
		if (width == 0 || width > 2 * BLOCK_BITS || total > PT_VPN_BITS_MAX)
			return -EINVAL;
	}
	ASSERT(p->direct_map != NULL);

	*pt = (struct pagetable){ .phys = p, .levels = (uint8_t)levels, .leaf_key = NO_LEAF };
	total = 0;
	for (unsigned i = 0; i < levels; i++) {
		unsigned rest = pt->bits[i] = bits != NULL ? bits[i] : 9;

		while (rest != 0) {
			unsigned width = MIN(rest, (unsigned)BLOCK_BITS);

			pt->width[pt->depth] = (uint8_t)width;
			pt->shift[pt->depth] = (uint8_t)total;
			pt->depth++;
			total += width;
			rest -= width;
		}
	}
	return 0;
}

static struct frame *node_alloc(struct pagetable *pt, unsigned level)
{
	unsigned order = node_order(pt, level);
	struct frame *node = frame_alloc(pt->phys, 0, order, MIGRATE_UNMOVABLE, ALLOC_MIN);

	if (node == NULL)
		node = frame_alloc(pt->phys, 0, order, MIGRATE_UNMOVABLE, ALLOC_RESERVE);
	if (node == NULL)
		return NULL;
	memset(node_entries(pt, node), 0, slots(pt, level) * sizeof(pte_t));
	*live(node) = 0;
	*reserved_by(node) = 0;
	pt->nr_nodes += 1u << order;
	return node;
}

static void node_free(struct pagetable *pt, struct frame *node, unsigned level)
{
	unsigned order = node_order(pt, level);

	if (pt->leaf_key != NO_LEAF && pt->leaf == node_entries(pt, node))
		pt->leaf_key = NO_LEAF;
	pt->nr_nodes -= 1u << order;
	frame_free(pt->phys, node, order);
}

/* Fills path[level] for the nodes on vpn's way, from the root down; returns the lowest level there is, depth for none. */
static unsigned descend(const struct pagetable *pt, vpn_t vpn, struct frame **path)
{
	unsigned level = pt->depth - 1u;

	if (pt->root == NULL)
		return pt->depth;
	path[level] = pt->root;
	while (level > 0) {
		pte_t e = node_entries(pt, path[level])[slot_of(pt, level, vpn)];

		if (pte_is_none(e))
			break;
		path[--level] = node_below(pt, e);
	}
	return level;
}

/* Frees path[level] if it is empty, then its parent if that became empty, and so on. */
static void prune(struct pagetable *pt, vpn_t vpn, struct frame **path, unsigned level)
{
	for (; level < pt->depth && *live(path[level]) == 0; level++) {
		node_free(pt, path[level], level);
		if (level + 1u == pt->depth) {
			pt->root = NULL;
		} else {
			node_entries(pt, path[level + 1])[slot_of(pt, level + 1, vpn)] = pte_none();
			--*live(path[level + 1]);
		}
	}
}

/* Makes the nodes below level on vpn's way. False without memory: what it made is gone again. */
static bool grow(struct pagetable *pt, vpn_t vpn, struct frame **path, unsigned level)
{
	while (level > 0) {
		struct frame *node = node_alloc(pt, level - 1);

		if (node == NULL) {
			prune(pt, vpn, path, level);
			return false;
		}
		if (level == pt->depth) {
			pt->root = node;
		} else {
			node_entries(pt, path[level])[slot_of(pt, level, vpn)] =
				pte_present_make(frame_pfn(pt->phys, node), PTE_TABLE);
			++*live(path[level]);
		}
		path[--level] = node;
	}
	return true;
}

/* The leaf of vpn, from the cache or the tree; NULL when absent. */
static inline pte_t *leaf_find(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	uint64_t key = vpn.n >> pt->width[0];

	if (likely(key == pt->leaf_key))
		return pt->leaf;
	if (!in_range(pt, vpn) || descend(pt, vpn, path) != 0)
		return NULL;
	pt->leaf_key = key;
	pt->leaf = node_entries(pt, path[0]);
	return pt->leaf;
}

void pt_forget_leaf(struct pagetable *pt)
{
	pt->leaf_key = NO_LEAF;
}

pte_t pt_get(struct pagetable *pt, vpn_t vpn)
{
	pte_t *leaf = leaf_find(pt, vpn);

	return leaf != NULL ? leaf[slot_of(pt, 0, vpn)] : pte_none();
}

static pte_t *leaf_make(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	unsigned level = descend(pt, vpn, path);

	if (!grow(pt, vpn, path, level))
		return NULL;
	pt->leaf_key = vpn.n >> pt->width[0];
	pt->leaf = node_entries(pt, path[0]);
	return pt->leaf;
}

static void leaf_prune(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	unsigned level = descend(pt, vpn, path);

	prune(pt, vpn, path, level);
}

int pt_set(struct pagetable *pt, vpn_t vpn, pte_t pte)
{
	pte_t *leaf = leaf_find(pt, vpn);

	if (unlikely(leaf == NULL)) {
		if (pte_is_none(pte))
			return 0;
		ASSERT(in_range(pt, vpn));
		leaf = leaf_make(pt, vpn);
		if (leaf == NULL)
			return -ENOMEM;
	}

	pte_t *slot = &leaf[slot_of(pt, 0, vpn)];
	int change = (int)pte_is_none(*slot) - (int)pte_is_none(pte);
	struct frame *node = home_frame(pt->phys, leaf);

	*slot = pte;
	*live(node) += (uint64_t)(int64_t)change;
	pt->nr_entries += (uint64_t)(int64_t)change;
	if (unlikely(*live(node) == 0))
		leaf_prune(pt, vpn);
	return 0;
}

static vpn_t next_leaf(const struct pagetable *pt, vpn_t vpn)
{
	return (vpn_t){ ((vpn.n >> pt->width[0]) + 1) << pt->width[0] };
}

/* Takes back the empty leaves that the running pt_reserve made in [start, end). */
static void unreserve(struct pagetable *pt, vpn_t start, vpn_t end)
{
	for (vpn_t v = start; v.n < end.n; v = next_leaf(pt, v)) {
		struct frame *path[PT_DEPTH_MAX];

		if (descend(pt, v, path) == 0 && *reserved_by(path[0]) == pt->reserve_serial)
			prune(pt, v, path, 0);
	}
}

int pt_reserve(struct pagetable *pt, vpn_t start, vpn_t end)
{
	ASSERT(start.n >= end.n || in_range(pt, (vpn_t){ end.n - 1 }));
	pt->reserve_serial++;
	for (vpn_t v = start; v.n < end.n; v = next_leaf(pt, v)) {
		struct frame *path[PT_DEPTH_MAX];
		unsigned level = descend(pt, v, path);

		if (level == 0)
			continue;
		if (!grow(pt, v, path, level)) {
			unreserve(pt, start, v);
			return -ENOMEM;
		}
		*reserved_by(path[0]) = pt->reserve_serial;
	}
	return 0;
}

/* The first live slot of a node from i on; slots() when there is none. */
static size_t scan(const struct pagetable *pt, const pte_t *entries, unsigned level, size_t i)
{
	size_t n = slots(pt, level);

	while (i < n && pte_is_none(entries[i]))
		i++;
	return i;
}

/* The first page of slot i of vpn's node at this level; of the node behind it when i is past the last slot. */
static vpn_t slot_start(const struct pagetable *pt, unsigned level, vpn_t vpn, size_t i)
{
	unsigned top = pt->shift[level] + pt->width[level];

	return (vpn_t){ (vpn.n >> top << top) + ((uint64_t)i << pt->shift[level]) };
}

bool pt_next(struct pagetable *pt, vpn_t from, vpn_t end, vpn_t *at, pte_t *pte)
{
	vpn_t v = from;

	end.n = MIN(end.n, (uint64_t)1 << vpn_bits(pt));
	while (v.n < end.n && pt->root != NULL) {
		struct frame *path[PT_DEPTH_MAX];
		const pte_t *entries = pt->leaf;
		unsigned level = 0;

		if (v.n >> pt->width[0] != pt->leaf_key) {
			level = descend(pt, v, path);
			entries = node_entries(pt, path[level]);
		}
		/* level is where v's way ends: at a leaf, or at a node whose slot for v is empty. */
		size_t i = scan(pt, entries, level, slot_of(pt, level, v));

		v = slot_start(pt, level, v, i);
		if (level > 0 || i == slots(pt, 0))
			continue;
		if (v.n >= end.n)
			break;
		pt->leaf_key = v.n >> pt->width[0];
		pt->leaf = (pte_t *)entries;
		*at = v;
		*pte = entries[i];
		return true;
	}
	return false;
}

static void free_below(struct pagetable *pt, struct frame *node, unsigned level)
{
	const pte_t *entries = node_entries(pt, node);

	for (size_t i = 0; level > 0 && (i = scan(pt, entries, level, i)) < slots(pt, level); i++)
		free_below(pt, node_below(pt, entries[i]), level - 1);
	node_free(pt, node, level);
}

void pt_destroy(struct pagetable *pt)
{
	if (pt->root != NULL)
		free_below(pt, pt->root, pt->depth - 1u);
	pt->root = NULL;
	pt->nr_entries = 0;
	ASSERT(pt->nr_nodes == 0);
}

struct census {
	uint64_t entries;
	uint32_t frames;
	bool cached; /* the cached leaf was met, at its key */
};

static void check_node(struct pagetable *pt, struct frame *node, unsigned level, uint64_t key, struct census *c)
{
	const pte_t *entries = node_entries(pt, node);
	uint64_t n = 0;

	ASSERT(node->refs == 1 && node->flags == 0);
	c->frames += 1u << node_order(pt, level);
	for (size_t i = 0; (i = scan(pt, entries, level, i)) < slots(pt, level); i++) {
		n++;
		if (level > 0) {
			ASSERT(pte_is_present(entries[i]));
			check_node(pt, node_below(pt, entries[i]), level - 1, key << pt->width[level] | i, c);
		}
	}
	ASSERT(*live(node) == n);
	if (level > 0) {
		ASSERT(n > 0);
		return;
	}
	ASSERT(n > 0 || *reserved_by(node) != 0);
	c->entries += n;
	if (pt->leaf_key == key) {
		ASSERT(pt->leaf == entries);
		c->cached = true;
	}
}

void pt_check(struct pagetable *pt)
{
	struct census c = { .cached = pt->leaf_key == NO_LEAF };

	if (pt->root != NULL)
		check_node(pt, pt->root, pt->depth - 1u, 0, &c);
	ASSERT(c.entries == pt->nr_entries);
	ASSERT(c.frames == pt->nr_nodes);
	ASSERT(c.cached);
}

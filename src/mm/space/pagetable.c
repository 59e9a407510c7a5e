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
 * Huge pages. An entry of level 1 with PTE_HUGE stands for a whole leaf of
 * pages in consecutive frames (2 MiB on x86-64). There is no leaf below it, so
 * the cached leaf never is one of them, and get and set pay nothing for them
 * unless they miss it. Who asks for a page inside is given an entry made up on
 * the spot; who sets one finds the huge page split into the leaf it stood for,
 * as Linux's split_huge_pmd does, but without a leaf deposited beforehand:
 * here the split may fail. Only PTE_HUGE tells the two kinds of entry apart.
 *
 * Failure. A fault must be answered, so nodes may come out of the reserve that
 * phys keeps below MIN. When even that is empty, nodes made on the way are
 * taken back and the table is as before.
 *
 * Cost. Faults cluster: the leaf used last is remembered, and get and set on it
 * are one compare, one load, one store and a counter. Otherwise the node above the
 * leaf is remembered, one for each of the last few GiB, and there are two loads more; without that, one
 * a level. pt_next skips an absent node of any size with the loads that find it.
 */
#include "mm/space/pagetable.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define BLOCK_BITS (MAX_PAGE_ORDER + PAGE_SHIFT - 3) /* entries of 8 bytes in the largest block: 2^19 */
#define NO_KEY UINT64_MAX

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

static bool is_huge(pte_t entry)
{
	return (entry.v & PTE_HUGE) != 0;
}

/* The entry of vpn as its huge page has it. */
static pte_t huge_part(const struct pagetable *pt, pte_t huge, vpn_t vpn)
{
	return (pte_t){ huge.v + ((vpn.n & (((uint64_t)1 << pt->width[0]) - 1)) << PTE_PFN_SHIFT) };
}

static bool in_range(const struct pagetable *pt, vpn_t vpn)
{
	return vpn.n < pt->vpn_end;
}

static size_t slots(const struct pagetable *pt, unsigned level)
{
	return (size_t)1 << pt->width[level];
}

static size_t slot_of(const struct pagetable *pt, unsigned level, vpn_t vpn)
{
	return (vpn.n >> pt->shift[level]) & pt->last[level];
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

	*pt = (struct pagetable){ .phys = p, .direct_map = p->direct_map, .levels = (uint8_t)levels };
	total = 0;
	for (unsigned i = 0; i < levels; i++) {
		unsigned rest = pt->bits[i] = bits != NULL ? bits[i] : 9;

		while (rest != 0) {
			unsigned width = MIN(rest, (unsigned)BLOCK_BITS);

			pt->width[pt->depth] = (uint8_t)width;
			pt->shift[pt->depth] = (uint8_t)total;
			pt->level_of[pt->depth] = (uint8_t)i;
			pt->last[pt->depth] = (1u << width) - 1;
			pt->depth++;
			total += width;
			rest -= width;
		}
	}
	pt->vpn_end = (uint64_t)1 << total;
	pt->twig_shift = pt->depth > 1 ? (uint8_t)(pt->shift[1] + pt->width[1]) : 1;
	pt_forget_cached(pt);
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
	pt->level_frames[pt->level_of[level]] += 1u << order;
	pt->phys->nr_tables += 1u << order;
	return node;
}

static void node_free(struct pagetable *pt, struct frame *node, unsigned level)
{
	unsigned order = node_order(pt, level);

	if (pt->leaf_key != NO_KEY && pt->leaf == node_entries(pt, node))
		pt->leaf_key = NO_KEY;
	for (unsigned i = 0; level == 1 && i < PT_TWIGS; i++)
		if (pt->twig[i].entries == node_entries(pt, node))
			pt->twig[i].key = NO_KEY;
	pt->nr_nodes -= 1u << order;
	pt->level_frames[pt->level_of[level]] -= 1u << order;
	pt->phys->nr_tables -= 1u << order;
	frame_free(pt->phys, node, order);
}

/*
 * Fills path[level] for the nodes on vpn's way, from the root down; returns the lowest level there is, depth for none.
 * At 1 the slot there is empty or a huge page, at 0 a leaf is reached; above, the slot is empty.
 */
static unsigned descend(const struct pagetable *pt, vpn_t vpn, struct frame **path)
{
	unsigned level = pt->depth - 1u;

	if (pt->root == NULL)
		return pt->depth;
	path[level] = home_frame(pt->phys, pt->root);
	while (level > 0) {
		pte_t e = node_entries(pt, path[level])[slot_of(pt, level, vpn)];

		if (pte_is_none(e) || is_huge(e))
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

/* Makes the nodes below level on vpn's way, to level bottom. False without memory: what it made is gone again. */
static bool grow(struct pagetable *pt, vpn_t vpn, struct frame **path, unsigned level, unsigned bottom)
{
	while (level > bottom) {
		struct frame *node = node_alloc(pt, level - 1);

		if (node == NULL) {
			prune(pt, vpn, path, level);
			return false;
		}
		if (level == pt->depth) {
			pt->root = node_entries(pt, node);
		} else {
			node_entries(pt, path[level])[slot_of(pt, level, vpn)] =
				pte_present_make(frame_pfn(pt->phys, node), PTE_TABLE);
			++*live(path[level]);
		}
		path[--level] = node;
	}
	return true;
}

/* The entry of the huge page that vpn's way ends at; NULL if it does not. */
static pte_t *huge_at(const struct pagetable *pt, vpn_t vpn, struct frame **path, unsigned level)
{
	pte_t *slot;

	if (level != 1 || pt->depth == 1)
		return NULL;
	slot = &node_entries(pt, path[1])[slot_of(pt, 1, vpn)];
	return is_huge(*slot) ? slot : NULL;
}

/* Puts a leaf of single pages in a huge page's place. False without memory. */
static bool split(struct pagetable *pt, struct frame **path, pte_t *huge)
{
	struct frame *leaf = node_alloc(pt, 0);
	pte_t e = { huge->v & ~PTE_HUGE }, *entries;

	if (leaf == NULL)
		return false;
	entries = node_entries(pt, leaf);
	for (size_t i = 0; i < slots(pt, 0); i++)
		entries[i] = huge_part(pt, e, (vpn_t){ i });
	*live(leaf) = slots(pt, 0);
	*huge = pte_present_make(frame_pfn(pt->phys, leaf), PTE_TABLE);
	path[0] = leaf;
	return true;
}

/* Makes what is missing of vpn's way to its leaf below level, where it ends now. False without memory. */
static bool complete(struct pagetable *pt, vpn_t vpn, struct frame **path, unsigned level)
{
	pte_t *huge = huge_at(pt, vpn, path, level);

	return huge != NULL ? split(pt, path, huge) : grow(pt, vpn, path, level, 0);
}

/* As descend, for those who only want what is at a level: no frame is looked at. NULL: there is no such node. */
static pte_t *node_at(const struct pagetable *pt, vpn_t vpn, unsigned bottom)
{
	pte_t *entries = pt->root;

	for (unsigned level = pt->depth - 1u; level > bottom && entries != NULL; level--) {
		pte_t e = entries[slot_of(pt, level, vpn)];

		entries = pt_names_table(e) ? node_entries(pt, node_below(pt, e)) : NULL;
	}
	return entries;
}

pte_t *pt_twig_find(struct pagetable *pt, vpn_t vpn)
{
	uint64_t key = vpn.n >> pt->twig_shift;
	pte_t *entries = pt->depth > 1 && in_range(pt, vpn) ? node_at(pt, vpn, 1) : NULL;

	if (entries == NULL)
		return NULL;
	pt->twig[key % PT_TWIGS].key = key;
	pt->twig[key % PT_TWIGS].entries = entries;
	return entries + slot_of(pt, 1, vpn);
}

pte_t *pt_only_leaf(struct pagetable *pt, vpn_t vpn)
{
	if (pt->depth > 1 || pt->root == NULL || !in_range(pt, vpn))
		return NULL;
	return pt->root + slot_of(pt, 0, vpn);
}

void pt_forget_cached(struct pagetable *pt)
{
	pt->leaf_key = NO_KEY;
	for (unsigned i = 0; i < PT_TWIGS; i++)
		pt->twig[i].key = NO_KEY;
}

pte_t *pt_find_huge(const struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];

	return in_range(pt, vpn) ? huge_at(pt, vpn, path, descend(pt, vpn, path)) : NULL;
}

pte_t pt_get_huge(const struct pagetable *pt, vpn_t vpn)
{
	const pte_t *huge = pt_find_huge(pt, vpn);

	return huge != NULL ? huge_part(pt, *huge, vpn) : pte_none();
}

static pte_t *leaf_make(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	unsigned level = descend(pt, vpn, path);

	if (!complete(pt, vpn, path, level))
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
	pte_t *slot = pt_place(pt, vpn);

	if (unlikely(slot == NULL)) {
		if (pte_is_none(pte) && pt_find_huge(pt, vpn) == NULL)
			return 0;
		ASSERT(in_range(pt, vpn));
		slot = leaf_make(pt, vpn);
		if (slot == NULL)
			return -ENOMEM;
		slot += slot_of(pt, 0, vpn);
	}
	pte.v &= ~PTE_HUGE;
	int change = (int)pte_is_none(*slot) - (int)pte_is_none(pte);

	*slot = pte;
	if (likely(change == 0 && !pte_is_none(pte)))
		return 0;
	/* A none that was none already may be the last word on a leaf that was reserved. */
	struct frame *node = home_frame(pt->phys, slot - slot_of(pt, 0, vpn));

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

		if (pt_place(pt, v) != NULL)
			continue;
		unsigned level = descend(pt, v, path);

		if (!complete(pt, v, path, level)) {
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

	end.n = MIN(end.n, pt->vpn_end);
	while (v.n < end.n && pt->root != NULL) {
		struct frame *path[PT_DEPTH_MAX];
		const pte_t *entries = pt->leaf;
		unsigned level = 0;

		if (v.n >> pt->width[0] != pt->leaf_key) {
			level = descend(pt, v, path);
			entries = node_entries(pt, path[level]);
		}
		const pte_t *huge = huge_at(pt, v, path, level);

		if (huge != NULL) {
			*at = v;
			*pte = huge_part(pt, *huge, v);
			return true;
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

uint64_t pt_huge_pages(const struct pagetable *pt)
{
	return pt->depth > 1 && pt->level_of[1] == 1 ? (uint64_t)1 << pt->width[0] : 0;
}

bool pt_is_huge(struct pagetable *pt, vpn_t vpn)
{
	return vpn.n >> pt->width[0] != pt->leaf_key && pt_find_huge(pt, vpn) != NULL;
}

/* Makes the slot of level 1 that a huge page goes into; NULL without memory. */
static pte_t *huge_make(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	unsigned level = descend(pt, vpn, path);

	if (level > 1 && !grow(pt, vpn, path, level, 1))
		return NULL;

	pte_t *slot = &node_entries(pt, path[1])[slot_of(pt, 1, vpn)];

	if (level == 0) {
		/* Reserved, and not used since. */
		ASSERT(*live(path[0]) == 0);
		node_free(pt, path[0], 0);
	}
	if (pte_is_none(*slot))
		++*live(path[1]);
	if (!is_huge(*slot))
		pt->nr_entries += slots(pt, 0);
	return slot;
}

static void huge_clear(struct pagetable *pt, vpn_t vpn)
{
	struct frame *path[PT_DEPTH_MAX];
	unsigned level = descend(pt, vpn, path);
	pte_t *slot = huge_at(pt, vpn, path, level);

	if (slot == NULL)
		return;
	*slot = pte_none();
	--*live(path[1]);
	pt->nr_entries -= slots(pt, 0);
	prune(pt, vpn, path, 1);
}

int pt_set_huge(struct pagetable *pt, vpn_t vpn, pte_t pte)
{
	uint64_t n = pt_huge_pages(pt);
	pte_t *slot;

	ASSERT(n != 0 && vpn.n % n == 0 && in_range(pt, vpn));
	if (pte_is_none(pte)) {
		huge_clear(pt, vpn);
		return 0;
	}
	ASSERT(pte_is_present(pte) && pte_pfn(pte).n % n == 0);
	slot = huge_make(pt, vpn);
	if (slot == NULL)
		return -ENOMEM;
	slot->v = pte.v | PTE_HUGE;
	return 0;
}

unsigned pt_walk(struct pagetable *pt, vpn_t vpn, pte_t *steps[PT_LEVELS_MAX])
{
	pte_t *entries = pt->root;
	unsigned n;

	if (entries == NULL || !in_range(pt, vpn))
		return 0;
	for (unsigned level = pt->depth - 1u;; level--) {
		pte_t *e = &entries[slot_of(pt, level, vpn)];

		/* The lower half of a wide level takes the place of the upper one. */
		n = (unsigned)pt->levels - pt->level_of[level];
		steps[n - 1] = e;
		if (level == 0 || !pt_names_table(*e))
			return n;
		entries = node_entries(pt, node_below(pt, *e));
	}
}

static void free_below(struct pagetable *pt, struct frame *node, unsigned level)
{
	const pte_t *entries = node_entries(pt, node);

	for (size_t i = 0; level > 0 && (i = scan(pt, entries, level, i)) < slots(pt, level); i++)
		if (!is_huge(entries[i]))
			free_below(pt, node_below(pt, entries[i]), level - 1);
	node_free(pt, node, level);
}

void pt_destroy(struct pagetable *pt)
{
	if (pt->root != NULL)
		free_below(pt, home_frame(pt->phys, pt->root), pt->depth - 1u);
	pt->root = NULL;
	pt->nr_entries = 0;
	ASSERT(pt->nr_nodes == 0);
}

struct census {
	uint64_t entries;
	uint32_t frames, level_frames[PT_LEVELS_MAX];
	bool cached; /* the cached leaf was met, at its key */
	bool twig[PT_TWIGS]; /* the same */
};

static void check_node(struct pagetable *pt, struct frame *node, unsigned level, uint64_t key, struct census *c)
{
	const pte_t *entries = node_entries(pt, node);
	uint64_t n = 0;

	ASSERT(node->refs == 1 && node->flags == 0);
	c->frames += 1u << node_order(pt, level);
	c->level_frames[pt->level_of[level]] += 1u << node_order(pt, level);
	for (size_t i = 0; (i = scan(pt, entries, level, i)) < slots(pt, level); i++) {
		n++;
		if (is_huge(entries[i])) {
			ASSERT(level == 1 && pte_is_present(entries[i]) && pte_pfn(entries[i]).n % pt_huge_pages(pt) == 0);
			c->entries += slots(pt, 0);
		} else if (level > 0) {
			ASSERT(pte_is_present(entries[i]));
			check_node(pt, node_below(pt, entries[i]), level - 1, key << pt->width[level] | i, c);
		}
	}
	ASSERT(*live(node) == n);
	if (level == 1 && pt->twig[key % PT_TWIGS].key == key) {
		ASSERT(pt->twig[key % PT_TWIGS].entries == entries);
		c->twig[key % PT_TWIGS] = true;
	}
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
	struct census c = { .cached = pt->leaf_key == NO_KEY };

	if (pt->root != NULL)
		check_node(pt, home_frame(pt->phys, pt->root), pt->depth - 1u, 0, &c);
	ASSERT(c.entries == pt->nr_entries);
	ASSERT(c.frames == pt->nr_nodes);
	ASSERT(memcmp(c.level_frames, pt->level_frames, sizeof(c.level_frames)) == 0);
	ASSERT(c.cached);
	for (unsigned i = 0; i < PT_TWIGS; i++)
		ASSERT(c.twig[i] || pt->twig[i].key == NO_KEY);
}

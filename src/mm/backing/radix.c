/*
 * Radix tree with tags.
 *
 *      height 2          ┌────┬────┬─ … ─┐  shift 6
 *      root ────────────►│ ●  │    │     │
 *                        └─┼──┴────┴─ … ─┘
 *                          └─►┌────┬────┬─ … ─┐  shift 0
 *                             │val │val │     │
 *                             └────┴────┴─ … ─┘
 *
 * Why not page tables (space/pagetable.c), which are a radix tree too? A node
 * there is a frame of 512 entries, and four of them lead to the first page:
 * right for an address space, 16 KiB for a file of one page. Here a node is
 * 536 bytes of a slab (64 slots, as in Linux, where it is a seventh of a
 * frame), a tree is as tall as its highest index wants, and each node says by
 * one bit per slot and tag whether anything below has that tag. So the next
 * dirty page of a large file is found without a look at the clean ones.
 *
 * Occupied slots are one more such bit map: scanning for the next value is a
 * shift and a count of zeros a node.
 *
 * Failure. Only a new index needs memory. Nodes made on the way to one that
 * cannot be had go back, and the tree is as it was. The root grows first; what
 * grew for nothing shrinks again by the same rule as after a removal.
 *
 * Cost. One load a level: 2 levels up to 16 MiB, 3 up to 1 GiB, 4 up to 64 GiB.
 */
#include "mm/backing/radix.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define HEIGHT_MAX DIV_ROUND_UP(64, RADIX_BITS)

struct radix_node {
	uint64_t used;             /* bit i: slot i has something */
	uint64_t tag[RADIX_TAGS];  /* bit i: slot i, or something below it, has the tag */
	union {
		uint64_t value[RADIX_SLOTS];
		struct radix_node *child[RADIX_SLOTS];
	};
};

/* The way to an index: node[level], level 0 is the lowest. */
struct path {
	struct radix_node *node[HEIGHT_MAX];
};

static unsigned slot_of(uint64_t index, unsigned level)
{
	return (unsigned)(index >> (level * RADIX_BITS)) & (RADIX_SLOTS - 1);
}

static uint64_t bit_of(uint64_t index, unsigned level)
{
	return (uint64_t)1 << slot_of(index, level);
}

/* Does a tree of this height have a place for index? */
static bool reaches(unsigned height, uint64_t index)
{
	return height >= HEIGHT_MAX || (height > 0 && index >> (height * RADIX_BITS) == 0);
}

int radix_cache_init(struct kmem_cache *slab, struct phys *p)
{
	return kmem_cache_init(slab, p, "radix_tree_node", sizeof(struct radix_node), 0, 1);
}

void radix_init(struct radix *r, struct kmem_cache *slab)
{
	*r = (struct radix){ .slab = slab };
}

static struct radix_node *node_alloc(struct radix *r)
{
	struct radix_node *n = kmem_cache_alloc(r->slab);

	if (n == NULL)
		return NULL;
	memset(n, 0, sizeof(*n));
	r->nr_nodes++;
	return n;
}

static void node_free(struct radix *r, struct radix_node *n)
{
	r->nr_nodes--;
	kmem_cache_free(r->slab, n);
}

static void free_below(struct radix *r, struct radix_node *n, unsigned level)
{
	for (uint64_t left = level > 0 ? n->used : 0; left != 0; left &= left - 1)
		free_below(r, n->child[__builtin_ctzll(left)], level - 1);
	node_free(r, n);
}

void radix_destroy(struct radix *r)
{
	if (r->root != NULL)
		free_below(r, r->root, r->height - 1u);
	ASSERT(r->nr_nodes == 0);
	radix_init(r, r->slab);
}

/* Fills the path as far as there are nodes, and returns the lowest level reached: height if the tree does not reach index. */
static unsigned descend(const struct radix *r, uint64_t index, struct path *path)
{
	unsigned level = r->height;

	if (r->root == NULL || !reaches(r->height, index))
		return level;
	path->node[--level] = r->root;
	while (level > 0 && path->node[level]->used & bit_of(index, level)) {
		path->node[level - 1] = path->node[level]->child[slot_of(index, level)];
		level--;
	}
	return level;
}

/* The leaf that has a value at index, or NULL. */
static struct radix_node *leaf_of(const struct radix *r, uint64_t index)
{
	struct radix_node *n = r->root;

	if (n == NULL || !reaches(r->height, index))
		return NULL;
	for (unsigned level = r->height - 1u; level > 0; level--) {
		if (!(n->used & bit_of(index, level)))
			return NULL;
		n = n->child[slot_of(index, level)];
	}
	return n->used & bit_of(index, 0) ? n : NULL;
}

uint64_t radix_get(const struct radix *r, uint64_t index)
{
	const struct radix_node *leaf = leaf_of(r, index);

	return leaf != NULL ? leaf->value[slot_of(index, 0)] : 0;
}

/* The root is no taller than needed: one that leads only to its first slot is taken away. */
static void shrink(struct radix *r)
{
	while (r->height > 1 && r->root->used == 1) {
		struct radix_node *root = r->root;

		r->root = root->child[0];
		r->height--;
		node_free(r, root);
	}
}

/* Takes empty nodes out, from this level up. */
static void prune(struct radix *r, uint64_t index, struct path *path, unsigned level)
{
	for (; level < r->height && path->node[level]->used == 0; level++) {
		node_free(r, path->node[level]);
		if (level + 1u == r->height) {
			r->root = NULL;
			r->height = 0;
			return;
		}
		path->node[level + 1]->used &= ~bit_of(index, level + 1);
	}
	shrink(r);
}

/* Makes the root tall enough for index. -ENOMEM: some of it may have been made, the law of height does not hold. */
static int grow_root(struct radix *r, uint64_t index)
{
	if (r->root == NULL) {
		r->root = node_alloc(r);
		if (r->root == NULL)
			return -ENOMEM;
		/* Empty, it is of any height. */
		for (r->height = 1; !reaches(r->height, index);)
			r->height++;
	}
	while (!reaches(r->height, index)) {
		struct radix_node *root = node_alloc(r);

		if (root == NULL)
			return -ENOMEM;
		root->used = 1;
		for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
			root->tag[tag] = r->root->tag[tag] != 0;
		root->child[0] = r->root;
		r->root = root;
		r->height++;
	}
	return 0;
}

/* A slot for a new index. */
static int insert(struct radix *r, uint64_t index, uint64_t value)
{
	struct path path;

	if (grow_root(r, index) != 0) {
		if (r->root != NULL)
			shrink(r);
		return -ENOMEM;
	}
	for (unsigned level = descend(r, index, &path); level > 0; level--) {
		path.node[level - 1] = node_alloc(r);
		if (path.node[level - 1] == NULL) {
			prune(r, index, &path, level);
			return -ENOMEM;
		}
		path.node[level]->child[slot_of(index, level)] = path.node[level - 1];
		path.node[level]->used |= bit_of(index, level);
	}
	path.node[0]->value[slot_of(index, 0)] = value;
	path.node[0]->used |= bit_of(index, 0);
	return 0;
}

/* Clears the tag at index, which has a value, on every level where nothing else keeps it. */
static void untag_below(struct radix_node *n, uint64_t index, unsigned level, unsigned tag)
{
	if (level > 0) {
		struct radix_node *child = n->child[slot_of(index, level)];

		untag_below(child, index, level - 1, tag);
		if (child->tag[tag] != 0)
			return;
	}
	n->tag[tag] &= ~bit_of(index, level);
}

static void erase(struct radix *r, uint64_t index)
{
	struct path path;

	for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
		untag_below(r->root, index, r->height - 1u, tag);
	descend(r, index, &path);
	path.node[0]->used &= ~bit_of(index, 0);
	prune(r, index, &path, 0);
}

int radix_set(struct radix *r, uint64_t index, uint64_t value)
{
	struct radix_node *leaf = leaf_of(r, index);

	if (leaf == NULL)
		return value != 0 ? insert(r, index, value) : 0;
	if (value != 0)
		leaf->value[slot_of(index, 0)] = value;
	else
		erase(r, index);
	return 0;
}

void radix_tag(struct radix *r, uint64_t index, unsigned tag)
{
	struct radix_node *n = r->root;

	ASSERT(leaf_of(r, index) != NULL);
	for (unsigned level = r->height - 1u; level > 0; level--) {
		n->tag[tag] |= bit_of(index, level);
		n = n->child[slot_of(index, level)];
	}
	n->tag[tag] |= bit_of(index, 0);
}

void radix_untag(struct radix *r, uint64_t index, unsigned tag)
{
	ASSERT(leaf_of(r, index) != NULL);
	untag_below(r->root, index, r->height - 1u, tag);
}

bool radix_tagged(const struct radix *r, uint64_t index, unsigned tag)
{
	const struct radix_node *leaf = leaf_of(r, index);

	return leaf != NULL && (leaf->tag[tag] & bit_of(index, 0)) != 0;
}

static uint64_t bits_of(const struct radix_node *n, unsigned tag)
{
	return tag == RADIX_ANY ? n->used : n->tag[tag];
}

/* Moves *at to the first index of slot `slot` of *at's node at this level, or behind the node. False: beyond 2^64. */
static bool advance(uint64_t *at, unsigned level, unsigned slot)
{
	unsigned shift = level * RADIX_BITS;
	uint64_t base = shift + RADIX_BITS < 64 ? *at >> (shift + RADIX_BITS) << (shift + RADIX_BITS) : 0;
	uint64_t next = base + ((uint64_t)slot << shift);

	if (next <= *at)
		return false;
	*at = next;
	return true;
}

bool radix_next(const struct radix *r, uint64_t from, uint64_t last, unsigned tag, uint64_t *index, uint64_t *value)
{
	uint64_t at = from;

	while (at <= last && r->root != NULL && reaches(r->height, at)) {
		const struct radix_node *n = r->root;
		unsigned level = r->height - 1u;

		while (level > 0 && bits_of(n, tag) & bit_of(at, level))
			n = n->child[slot_of(at, level--)];

		/* n has the way's last node: at's slot in it is empty, or it is a leaf. */
		uint64_t ahead = bits_of(n, tag) >> slot_of(at, level);
		unsigned slot = ahead != 0 ? slot_of(at, level) + (unsigned)__builtin_ctzll(ahead) : RADIX_SLOTS;

		if (slot != slot_of(at, level) && !advance(&at, level, slot))
			return false;
		if (level > 0 || slot == RADIX_SLOTS)
			continue;
		if (at > last)
			return false;
		*index = at;
		*value = n->value[slot];
		return true;
	}
	return false;
}

/* Returns the tags found below, bit i for tag i. */
static unsigned check_node(const struct radix *r, const struct radix_node *n, unsigned level, uint32_t *nodes)
{
	unsigned found = 0;

	++*nodes;
	ASSERT(n->used != 0);
	for (unsigned tag = 0; tag < RADIX_TAGS; tag++) {
		ASSERT((n->tag[tag] & ~n->used) == 0);
		found |= (unsigned)(n->tag[tag] != 0) << tag;
	}
	for (uint64_t left = n->used; left != 0; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left), has = 0, below;

		if (level == 0) {
			ASSERT(n->value[slot] != 0);
			continue;
		}
		below = check_node(r, n->child[slot], level - 1, nodes);
		for (unsigned tag = 0; tag < RADIX_TAGS; tag++)
			has |= (unsigned)(n->tag[tag] >> slot & 1) << tag;
		ASSERT(has == below);
	}
	return found;
}

void radix_check(const struct radix *r)
{
	uint32_t nodes = 0;

	ASSERT((r->root == NULL) == (r->height == 0) && r->height <= HEIGHT_MAX);
	if (r->root != NULL) {
		check_node(r, r->root, r->height - 1u, &nodes);
		ASSERT(r->height == 1 || r->root->used != 1);
	}
	ASSERT(nodes == r->nr_nodes);
}

/*
 * Who maps this page?
 *
 * A page table leads from an address to a frame. Reclaim and truncation go the
 * other way: a frame that is to leave must be taken out of every page table it
 * is in. A page knows what it is, page `pgoff` of some object; the object knows
 * the areas that show a part of it. What is kept is per area, not per page, so
 * that a fault and fork pay nothing (Linux's object-based rmap; the chains of
 * page table entries that 2.5 had cost fork a third of its time).
 *
 *     file, or family       areas, by pgoff                  address spaces
 *     ┌────────┐   tree     ┌──────────┐ covers 0..99
 *     │ rmap   │───────────►│ vma      │────────────────────► mm 1: start + (pgoff - vma->pgoff)
 *     └────────┘       ╲    ├──────────┤ covers 16..31
 *      pgoff 20?         ╲─►│ vma      │────────────────────► mm 2
 *                           └──────────┘
 *
 * The tree is a red-black tree by first pgoff in which every node also knows
 * the last pgoff of its subtree: an interval tree (Cormen et al., chapter 14.3;
 * Linux, include/linux/interval_tree_generic.h). Finding the next area of a
 * query is O(log n), however many others there are; taking one in, out or
 * resizing it likewise.
 *
 * Families. Anonymous memory belongs to nobody but its area, until fork copies
 * the area and both show the same frames. From then on both are of one family,
 * and so are the parts of either: what is split off, moved or copied again.
 * They keep their pgoff, so a page has the same pgoff in all of them. Linux
 * makes a new anon_vma for each child below its parent's, so that pages the
 * child got later are not looked for in the parent: that saves visits where
 * one server has thousands of children that all write, and costs a list of
 * chain objects per area, which fork can fail to get. Here a visit to an area
 * that has not got the page is one look into a page table; flat it stays.
 *
 * An area of private file pages may be in both trees: the file's for pages that
 * are still the file's, the family's for those that it wrote. Both count pages
 * from the start of the file.
 *
 * Cost when unused: an area without file and family pays two tests of NULL
 * wherever it is linked, unlinked or resized, and 112 bytes.
 */
#include "mm/space/rmap.h"

#include "base/assert.h"
#include "mm/space/vma.h"

static uint64_t first_of(const struct rmap_node *n)
{
	return n->vma->pgoff;
}

static uint64_t last_of(const struct rmap_node *n)
{
	return n->vma->pgoff + (n->vma->end.n - n->vma->start.n) - 1;
}

/* Never equal: RB_INSERT puts an area behind those of the same pgoff. */
static int rmap_order(const struct rmap_node *a, const struct rmap_node *b)
{
	return first_of(a) < first_of(b) ? -1 : 1;
}

static uint64_t subtree_last(const struct rmap_node *n)
{
	uint64_t last = last_of(n);

	if (RB_LEFT(n, link) != NULL)
		last = MAX(last, RB_LEFT(n, link)->subtree_last);
	if (RB_RIGHT(n, link) != NULL)
		last = MAX(last, RB_RIGHT(n, link)->subtree_last);
	return last;
}

#undef RB_AUGMENT
#define RB_AUGMENT(n) ((n)->subtree_last = subtree_last(n))
RB_GENERATE_INTERNAL(rmap_tree, rmap_node, link, rmap_order, __attribute__((unused)) static)

/* n, or a child of it, changed. */
static void last_fix(struct rmap_node *n)
{
	for (; n != NULL; n = RB_PARENT(n, link))
		n->subtree_last = subtree_last(n);
}

static struct rmap_node *node_of(const struct rmap *r, struct vma *vma)
{
	return r->slab != NULL ? &vma->on_anon : &vma->on_file;
}

void rmap_init(struct rmap *r)
{
	*r = (struct rmap){ .nr = 0 };
	RB_INIT(&r->tree);
}

struct rmap *rmap_alloc(struct kmem_cache *slab)
{
	struct rmap *r = kmem_cache_alloc(slab);

	if (r == NULL)
		return NULL;
	rmap_init(r);
	r->slab = slab;
	r->refs = 1;
	return r;
}

struct rmap *rmap_get(struct rmap *r)
{
	if (r != NULL && r->slab != NULL)
		r->refs++;
	return r;
}

void rmap_put(struct rmap *r)
{
	if (r == NULL || r->slab == NULL)
		return;
	ASSERT(r->refs > r->nr);
	if (--r->refs == 0)
		kmem_cache_free(r->slab, r);
}

void rmap_add(struct rmap *r, struct vma *vma)
{
	struct rmap_node *n = node_of(r, vma);

	DEBUG_ASSERT(n->vma == NULL && vma->start.n < vma->end.n);
	n->vma = vma;
	n->subtree_last = last_of(n);
	RB_INSERT(rmap_tree, &r->tree, n);
	last_fix(n);
	r->nr++;
}

void rmap_del(struct rmap *r, struct vma *vma)
{
	struct rmap_node *n = node_of(r, vma);
	bool leafward = RB_LEFT(n, link) == NULL || RB_RIGHT(n, link) == NULL;
	struct rmap_node *parent = leafward ? RB_PARENT(n, link) : NULL;

	DEBUG_ASSERT(n->vma == vma && rmap_holds(r, vma));
	RB_REMOVE(rmap_tree, &r->tree, n);
	/* RB_REMOVE walks up from where it took a node out only if n had two children. */
	last_fix(parent);
	n->vma = NULL;
	r->nr--;
}

void rmap_resized(struct rmap *r, struct vma *vma)
{
	last_fix(node_of(r, vma));
}

/*
 * The leftmost node of n's subtree that meets [first, last], or NULL. Left first: if anything there reaches up to
 * first, then either it meets the query or it starts beyond last, and then so does all that is to the right.
 */
static struct rmap_node *search(struct rmap_node *n, uint64_t first, uint64_t last)
{
	while (n != NULL && n->subtree_last >= first) {
		struct rmap_node *left = RB_LEFT(n, link);

		if (left != NULL && left->subtree_last >= first)
			n = left;
		else if (first_of(n) > last)
			return NULL;
		else if (last_of(n) >= first)
			return n;
		else
			n = RB_RIGHT(n, link);
	}
	return NULL;
}

struct vma *rmap_first_in(struct rmap *r, uint64_t first, uint64_t last)
{
	struct rmap_node *n = search(RB_ROOT(&r->tree), first, last);

	return n != NULL ? n->vma : NULL;
}

struct vma *rmap_next_in(struct rmap *r, struct vma *vma, uint64_t first, uint64_t last)
{
	struct rmap_node *n = node_of(r, vma);
	struct rmap_node *found = search(RB_RIGHT(n, link), first, last);

	while (found == NULL) {
		struct rmap_node *parent = RB_PARENT(n, link);

		/* Up, until this was a left child: its parent is the next in order. */
		while (parent != NULL && n == RB_RIGHT(parent, link)) {
			n = parent;
			parent = RB_PARENT(n, link);
		}
		if (parent == NULL || first_of(parent) > last)
			return NULL;
		n = parent;
		found = last_of(n) >= first ? n : search(RB_RIGHT(n, link), first, last);
	}
	return found->vma;
}

bool rmap_holds(const struct rmap *r, const struct vma *vma)
{
	const struct rmap_node *n = r->slab != NULL ? &vma->on_anon : &vma->on_file;

	if (n->vma != vma)
		return false;
	while (RB_PARENT(n, link) != NULL)
		n = RB_PARENT(n, link);
	return RB_ROOT(&r->tree) == n;
}

/*
 * Black nodes on every way down from n; also no red node has a red child, and order, subtree_last and what the area
 * itself says are right.
 */
static unsigned check_subtree(const struct rmap *r, struct rmap_node *n, uint32_t *count)
{
	if (n == NULL)
		return 1;

	struct rmap_node *left = RB_LEFT(n, link), *right = RB_RIGHT(n, link), *parent = RB_PARENT(n, link);
	unsigned black = check_subtree(r, left, count);
	bool red = RB_COLOR(n, link) == RB_RED;

	ASSERT(black == check_subtree(r, right, count));
	ASSERT(!red || (parent != NULL && RB_COLOR(parent, link) != RB_RED));
	ASSERT(left == NULL || first_of(left) <= first_of(n));
	ASSERT(right == NULL || first_of(right) >= first_of(n));
	ASSERT(n->subtree_last == subtree_last(n));
	ASSERT(n == node_of(r, n->vma));
	ASSERT(r == (r->slab != NULL ? n->vma->anon : vma_file_rmap(n->vma)));
	++*count;
	return black + !red;
}

void rmap_check(struct rmap *r)
{
	uint32_t count = 0;

	check_subtree(r, RB_ROOT(&r->tree), &count);
	ASSERT(count == r->nr);
	ASSERT(r->slab != NULL ? r->refs >= r->nr && r->refs > 0 : r->refs == 0);
}

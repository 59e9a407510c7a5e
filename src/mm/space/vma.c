/*
 * The areas of an address space.
 *
 * Every area is on an address-ordered list (neighbours, walks) and in a
 * red-black tree (search), as in Linux from 2.4 to 6.0. The tree is augmented
 * as Linux's was from 3.8 on (rb_subtree_gap): each area knows the largest gap
 * before any area of its subtree, so a place for a mapping is found in
 * O(log n), however many areas lie in between.
 *
 * Merging. Two neighbours are one area when they touch, have equal flags, the
 * same file, and the second continues the first one's pgoff. An anonymous area
 * counts pgoff from the address where it was made, so anonymous neighbours
 * always continue each other unless one of them was moved. Linux's eight cases
 * (mm/mmap.c, vma_merge) come out as three:
 *
 *     new between two      AAAA NN BBBB  →  both, the left, the right, or none
 *     a border moves       AAAA|CCaaaa   →  no area is made or freed (cases 4, 5)
 *     the rest             split at the ends, change, then merge neighbours
 *
 * Families (rmap.c). Pages that fork shared are found through the area's
 * family, so an area that takes pages of another one over, by merging or by a
 * moving border, must be of its family: it joins it if it has none, and two
 * that have each their own are not merged, as in Linux (anon_vma_compatible,
 * less the chains).
 *
 * Failure. An operation takes the areas that its splits need before it changes
 * anything; without memory it returns -ENOMEM and the set is as it was. A range
 * has two ends, so it never needs more than two.
 *
 * Streams. A split leaves the detected streams with the left part; when two
 * areas merge, the one that stays keeps its own; a moved area forgets them.
 */
#include "mm/space/vma.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

static int vma_order(const struct vma *a, const struct vma *b)
{
	return a->start.n < b->start.n ? -1 : a->start.n > b->start.n;
}

static struct vma *before(struct vma *v)
{
	return TAILQ_PREV(v, vma_list, link);
}

static struct vma *after(struct vma *v)
{
	return TAILQ_NEXT(v, link);
}

/* First page of the gap below an area. */
static uint64_t gap_start(struct vma *v)
{
	struct vma *prev = before(v);

	return prev != NULL ? prev->end.n : 0;
}

static uint64_t child_gap(const struct vma *child)
{
	return child != NULL ? child->subtree_gap : 0;
}

static uint64_t subtree_gap(struct vma *v)
{
	uint64_t below = MAX(child_gap(RB_LEFT(v, node)), child_gap(RB_RIGHT(v, node)));

	return MAX(v->start.n - gap_start(v), below);
}

/* Keeps subtree_gap right through the tree's own rotations; what changed outside them is gap_fix's. */
#undef RB_AUGMENT
#define RB_AUGMENT(v) ((v)->subtree_gap = subtree_gap(v))
RB_GENERATE_INTERNAL(vma_tree, vma, node, vma_order, __attribute__((unused)) static)

/* The gap below v, or a child of v, changed. */
static void gap_fix(struct vma *v)
{
	for (; v != NULL; v = RB_PARENT(v, node))
		v->subtree_gap = subtree_gap(v);
}

/*
 * The trees of objects
 */

static void objects_add(struct vma *v)
{
	if (unlikely(v->file != NULL))
		rmap_add(vma_file_rmap(v), v);
	if (unlikely(v->anon != NULL))
		rmap_add(v->anon, v);
}

static void objects_del(struct vma *v)
{
	if (unlikely(v->file != NULL))
		rmap_del(vma_file_rmap(v), v);
	if (unlikely(v->anon != NULL))
		rmap_del(v->anon, v);
}

/* Only the end moved. */
static void objects_resized(struct vma *v)
{
	if (unlikely(v->file != NULL))
		rmap_resized(vma_file_rmap(v), v);
	if (unlikely(v->anon != NULL))
		rmap_resized(v->anon, v);
}

/* v, which is linked and has no family, joins this one (NULL: none). */
static void family_join(struct vma *v, struct rmap *anon)
{
	if (anon == NULL)
		return;
	v->anon = rmap_get(anon);
	rmap_add(anon, v);
}

/* v, which is linked, is about to take over pages of `from`. */
static void family_inherit(struct vma *v, const struct vma *from)
{
	if (unlikely(from->anon != NULL) && v->anon == NULL)
		family_join(v, from->anon);
}

void vma_set_init(struct vma_set *s, struct mm *mm, struct kmem_cache *slab)
{
	*s = (struct vma_set){ .slab = slab, .mm = mm };
	TAILQ_INIT(&s->list);
	RB_INIT(&s->tree);
}

void vma_set_destroy(struct vma_set *s)
{
	struct vma *v;

	while ((v = TAILQ_FIRST(&s->list)) != NULL) {
		TAILQ_REMOVE(&s->list, v, link);
		objects_del(v);
		rmap_put(v->anon);
		kmem_cache_free(s->slab, v);
	}
	vma_set_init(s, s->mm, s->slab);
}

/*
 * Lookup
 */

struct vma *vma_find_above(struct vma_set *s, vpn_t vpn)
{
	struct vma *v = RB_ROOT(&s->tree), *best = NULL;

	while (v != NULL) {
		if (v->end.n > vpn.n) {
			best = v;
			if (v->start.n <= vpn.n)
				break;
			v = RB_LEFT(v, node);
		} else {
			v = RB_RIGHT(v, node);
		}
	}
	return best;
}

struct vma *vma_find(struct vma_set *s, vpn_t vpn)
{
	struct vma *v = s->cache;

	if (v != NULL && v->start.n <= vpn.n && vpn.n < v->end.n)
		return v;
	v = vma_find_above(s, vpn);
	if (v == NULL || v->start.n > vpn.n)
		return NULL;
	s->cache = v;
	return v;
}

struct vma *vma_overlap(struct vma_set *s, vpn_t start, vpn_t end)
{
	struct vma *v = vma_find_above(s, start);

	return v != NULL && v->start.n < end.n && start.n < end.n ? v : NULL;
}

/*
 * Single steps; each keeps list, trees, gaps and sums right
 */

static void vma_link(struct vma_set *s, struct vma *v)
{
	struct vma *next = vma_find_above(s, v->start);

	if (next != NULL)
		TAILQ_INSERT_BEFORE(next, v, link);
	else
		TAILQ_INSERT_TAIL(&s->list, v, link);
	v->subtree_gap = v->start.n - gap_start(v);
	RB_INSERT(vma_tree, &s->tree, v);
	gap_fix(v);
	if (next != NULL)
		gap_fix(next);
	objects_add(v);
	s->count++;
	s->pages += v->end.n - v->start.n;
}

static void vma_unlink(struct vma_set *s, struct vma *v)
{
	struct vma *next = after(v);
	bool leafward = RB_LEFT(v, node) == NULL || RB_RIGHT(v, node) == NULL;
	struct vma *parent = leafward ? RB_PARENT(v, node) : NULL;

	objects_del(v);
	TAILQ_REMOVE(&s->list, v, link);
	RB_REMOVE(vma_tree, &s->tree, v);
	/* RB_REMOVE walks up from where it took a node out only if v had two children. */
	gap_fix(parent);
	gap_fix(next);
	if (s->cache == v)
		s->cache = NULL;
	s->count--;
	s->pages -= v->end.n - v->start.n;
}

static void vma_drop(struct vma_set *s, struct vma *v)
{
	vma_unlink(s, v);
	rmap_put(v->anon);
	kmem_cache_free(s->slab, v);
}

/* Moves the borders of v within the free space around it. */
static void vma_resize(struct vma_set *s, struct vma *v, vpn_t start, vpn_t end)
{
	bool restarted = start.n != v->start.n;

	DEBUG_ASSERT(start.n < end.n);
	if (restarted)
		objects_del(v);
	s->pages += (end.n - start.n) - (v->end.n - v->start.n);
	v->pgoff += start.n - v->start.n;
	v->start = start;
	v->end = end;
	if (restarted)
		objects_add(v);
	else
		objects_resized(v);
	gap_fix(v);
	if (after(v) != NULL)
		gap_fix(after(v));
}

/* The border between two areas that touch moves to at. The one that shrinks goes first: they never overlap. */
static void vma_shift(struct vma_set *s, struct vma *left, struct vma *right, vpn_t at)
{
	if (at.n < left->end.n) {
		family_inherit(right, left);
		vma_resize(s, left, left->start, at);
		vma_resize(s, right, at, right->end);
	} else {
		family_inherit(left, right);
		vma_resize(s, right, at, right->end);
		vma_resize(s, left, left->start, at);
	}
}

/* fresh becomes what v is from `at` on: to be linked, in v's place or in another set. */
static void vma_like(struct vma_set *s, const struct vma *v, vpn_t at, struct vma *fresh)
{
	*fresh = (struct vma){
		.start = at,
		.end = v->end,
		.flags = v->flags,
		.mm = s->mm,
		.file = v->file,
		.anon = rmap_get(v->anon),
		.pgoff = vma_pgoff(v, at),
	};
}

/* Cuts v at a page inside it; right becomes the part from there on. */
static void vma_split(struct vma_set *s, struct vma *v, vpn_t at, struct vma *right)
{
	vma_like(s, v, at, right);
	vma_resize(s, v, v->start, at);
	vma_link(s, right);
}

/* One of them could take the other's pages over. */
static bool related(const struct vma *a, const struct vma *b)
{
	return a->anon == b->anon || a->anon == NULL || b->anon == NULL;
}

/* Would v, if it had these flags, and next be one area? */
static bool continues(const struct vma *v, uint32_t flags, const struct vma *next, uint32_t next_flags)
{
	return v->end.n == next->start.n && flags == next_flags && v->file == next->file &&
	       v->pgoff + (v->end.n - v->start.n) == next->pgoff && related(v, next);
}

/* Merges neighbours from the area before start to the one after end. */
static void vma_merge(struct vma_set *s, vpn_t start, vpn_t end)
{
	struct vma *v = vma_find_above(s, start);

	if (v == NULL)
		return;
	if (before(v) != NULL)
		v = before(v);
	for (struct vma *next; (next = after(v)) != NULL && next->start.n <= end.n;) {
		if (continues(v, v->flags, next, next->flags)) {
			vpn_t to = next->end;

			family_inherit(v, next);
			vma_drop(s, next);
			vma_resize(s, v, v->start, to);
		} else {
			v = next;
		}
	}
}

/*
 * Spare areas, taken before an operation changes anything
 */

struct spares {
	struct vma *v[2];
	unsigned n;
};

static int spares_take(struct vma_set *s, struct spares *spares, unsigned n)
{
	for (spares->n = 0; spares->n < n; spares->n++) {
		struct vma *v = kmem_cache_alloc(s->slab);

		if (v == NULL) {
			while (spares->n > 0)
				kmem_cache_free(s->slab, spares->v[--spares->n]);
			return -ENOMEM;
		}
		spares->v[spares->n] = v;
	}
	return 0;
}

static void split_at(struct vma_set *s, vpn_t at, struct spares *spares)
{
	struct vma *v = vma_find_above(s, at);

	if (v != NULL && v->start.n < at.n)
		vma_split(s, v, at, spares->v[--spares->n]);
}

/* The area that a border at this page would cut, or NULL. */
static struct vma *straddler(struct vma_set *s, vpn_t at)
{
	struct vma *v = vma_find_above(s, at);

	return v != NULL && v->start.n < at.n ? v : NULL;
}

/*
 * Operations
 */

struct vma *vma_insert(struct vma_set *s, vpn_t start, vpn_t end, uint32_t flags, struct vm_file *file, uint64_t pgoff)
{
	struct vma fresh = { .start = start, .end = end, .flags = flags, .file = file, .pgoff = pgoff };
	struct vma *next = vma_find_above(s, start);
	struct vma *prev = next != NULL ? before(next) : TAILQ_LAST(&s->list, vma_list);

	ASSERT(start.n < end.n);
	ASSERT(next == NULL || next->start.n >= end.n);

	bool right = next != NULL && continues(&fresh, flags, next, next->flags);

	if (prev != NULL && continues(prev, prev->flags, &fresh, flags)) {
		/* The new area goes with either neighbour, but these may be of two families. */
		if (right && related(prev, next)) {
			end = next->end;
			family_inherit(prev, next);
			vma_drop(s, next);
		}
		vma_resize(s, prev, prev->start, end);
		return prev;
	}
	if (right) {
		vma_resize(s, next, start, next->end);
		return next;
	}

	struct vma *v = kmem_cache_alloc(s->slab);

	if (v == NULL)
		return NULL;
	/* Not a copy of fresh, which then need not exist: an area is large. */
	*v = (struct vma){ .start = start, .end = end, .flags = flags, .mm = s->mm, .file = file, .pgoff = pgoff };
	vma_link(s, v);
	return v;
}

int vma_remove(struct vma_set *s, vpn_t start, vpn_t end)
{
	struct vma *v = vma_overlap(s, start, end);
	struct spares spares;

	if (v == NULL)
		return 0;
	/* Only a hole inside one area needs a new one: the part behind it. */
	if (spares_take(s, &spares, v->start.n < start.n && v->end.n > end.n) != 0)
		return -ENOMEM;
	if (spares.n > 0)
		split_at(s, end, &spares);

	while (v != NULL && v->start.n < end.n) {
		struct vma *next = after(v);

		if (v->start.n < start.n)
			vma_resize(s, v, v->start, start);
		else if (v->end.n > end.n)
			vma_resize(s, v, end, v->end);
		else
			vma_drop(s, v);
		v = next;
	}
	return 0;
}

/*
 * The change covers one end of v, and the neighbour there already is what that
 * end becomes: the border between them moves. An allocator that opens its arena
 * with mprotect, page by page, does this all the time.
 */
static bool change_by_shift(struct vma_set *s, struct vma *v, vpn_t start, vpn_t end, uint32_t flags)
{
	struct vma *prev = before(v), *next = after(v);

	if (start.n <= v->start.n && end.n < v->end.n && prev != NULL && continues(prev, prev->flags, v, flags)) {
		vma_shift(s, prev, v, end);
		return true;
	}
	if (start.n > v->start.n && end.n == v->end.n && next != NULL && continues(v, flags, next, next->flags)) {
		vma_shift(s, v, next, start);
		return true;
	}
	return false;
}

int vma_change(struct vma_set *s, vpn_t start, vpn_t end, uint32_t set, uint32_t clear)
{
	struct vma *first = vma_overlap(s, start, end);
	struct spares spares;

	if (first == NULL)
		return 0;

	uint32_t flags = (first->flags & ~clear) | set;

	if (first->end.n >= end.n) {
		if (flags == first->flags || change_by_shift(s, first, start, end, flags))
			return 0;
	}

	struct vma *left = straddler(s, start), *right = straddler(s, end);
	bool cut_left = left != NULL && ((left->flags & ~clear) | set) != left->flags;
	bool cut_right = right != NULL && ((right->flags & ~clear) | set) != right->flags;

	if (spares_take(s, &spares, (unsigned)cut_left + (unsigned)cut_right) != 0)
		return -ENOMEM;
	if (cut_left)
		split_at(s, start, &spares);
	if (cut_right)
		split_at(s, end, &spares);
	/* An area that was not cut although it reaches out of the range has these flags already. */
	for (struct vma *v = vma_overlap(s, start, end); v != NULL && v->start.n < end.n; v = after(v))
		v->flags = (v->flags & ~clear) | set;
	vma_merge(s, start, end);
	return 0;
}

int vma_move(struct vma_set *s, vpn_t from, vpn_t to, uint64_t n)
{
	vpn_t from_end = { from.n + n }, to_end = { to.n + n };
	struct vma_list moving = TAILQ_HEAD_INITIALIZER(moving);
	struct spares spares;
	struct vma *v;

	ASSERT(vma_overlap(s, to, to_end) == NULL);
	if (vma_overlap(s, from, from_end) == NULL)
		return 0;
	if (spares_take(s, &spares,
			(unsigned)(straddler(s, from) != NULL) + (unsigned)(straddler(s, from_end) != NULL)) != 0)
		return -ENOMEM;
	split_at(s, from, &spares);
	split_at(s, from_end, &spares);

	while ((v = vma_overlap(s, from, from_end)) != NULL) {
		vma_unlink(s, v);
		TAILQ_INSERT_TAIL(&moving, v, link);
	}
	while ((v = TAILQ_FIRST(&moving)) != NULL) {
		TAILQ_REMOVE(&moving, v, link);
		v->start.n += to.n - from.n;
		v->end.n += to.n - from.n;
		memset(v->streams, 0, sizeof(v->streams));
		vma_link(s, v);
	}
	vma_merge(s, to, to_end);
	return 0;
}

/*
 * fork
 */

/* The family of a neighbour that v would be merged with if their flags were equal. */
static struct rmap *family_beside(struct vma *v)
{
	struct vma *prev = before(v), *next = after(v);

	if (prev != NULL && prev->anon != NULL && continues(prev, 0, v, 0))
		return prev->anon;
	if (next != NULL && next->anon != NULL && continues(v, 0, next, 0))
		return next->anon;
	return NULL;
}

int vma_share(struct vma *v, struct kmem_cache *families)
{
	if (v->anon != NULL)
		return 0;

	struct rmap *anon = rmap_get(family_beside(v));

	if (anon == NULL)
		anon = rmap_alloc(families);
	if (anon == NULL)
		return -ENOMEM;
	family_join(v, anon);
	rmap_put(anon);
	return 0;
}

struct vma *vma_copy(struct vma_set *s, const struct vma *v)
{
	struct vma *copy = kmem_cache_alloc(s->slab);

	ASSERT(vma_overlap(s, v->start, v->end) == NULL);
	if (copy == NULL)
		return NULL;
	vma_like(s, v, v->start, copy);
	vma_link(s, copy);
	return copy;
}

/*
 * Gap search
 */

struct gap_query {
	uint64_t floor, ceiling, n;
};

/* Where n pages fit highest in the free range [lo, hi), clipped to the query. */
static bool fits(const struct gap_query *q, uint64_t lo, uint64_t hi, vpn_t *found)
{
	lo = MAX(lo, q->floor);
	hi = MIN(hi, q->ceiling);
	if (lo >= hi || hi - lo < q->n)
		return false;
	found->n = hi - q->n;
	return true;
}

/*
 * The highest gap below an area of v's subtree. A subtree with a large enough
 * gap fails only where floor or ceiling clip it, that is along two paths of the
 * tree; recursion is as deep as the tree: 2 log2(areas).
 */
static bool gap_below(struct vma *v, const struct gap_query *q, vpn_t *found)
{
	if (v == NULL || v->subtree_gap < q->n)
		return false;

	uint64_t lo = gap_start(v);

	if (v->end.n < q->ceiling && gap_below(RB_RIGHT(v, node), q, found))
		return true;
	if (fits(q, lo, v->start.n, found))
		return true;
	return lo > q->floor && gap_below(RB_LEFT(v, node), q, found);
}

int vma_gap(struct vma_set *s, vpn_t floor, vpn_t ceiling, uint64_t n, vpn_t *found)
{
	struct gap_query q = { floor.n, ceiling.n, n };
	struct vma *last = TAILQ_LAST(&s->list, vma_list);

	ASSERT(n > 0);
	if (fits(&q, last != NULL ? last->end.n : 0, UINT64_MAX, found) || gap_below(RB_ROOT(&s->tree), &q, found))
		return 0;
	return -ENOMEM;
}

/*
 * The law
 */

/* Black nodes on every way down from v; also no red node has a red child, and the gaps are right. */
static unsigned check_subtree(struct vma *v, uint32_t *count)
{
	if (v == NULL)
		return 1;

	unsigned left = check_subtree(RB_LEFT(v, node), count);
	unsigned right = check_subtree(RB_RIGHT(v, node), count);
	struct vma *parent = RB_PARENT(v, node);
	bool red = RB_COLOR(v, node) == RB_RED;

	ASSERT(left == right);
	ASSERT(!red || (parent != NULL && RB_COLOR(parent, node) != RB_RED));
	ASSERT(v->subtree_gap == subtree_gap(v));
	++*count;
	return left + !red;
}

void vma_check(struct vma_set *s)
{
	struct vma *v, *prev = NULL, *in_tree = RB_MIN(vma_tree, &s->tree);
	uint32_t listed = 0, treed = 0;
	uint64_t pages = 0;
	bool cached = s->cache == NULL;

	TAILQ_FOREACH(v, &s->list, link) {
		ASSERT(v->start.n < v->end.n);
		ASSERT(prev == NULL || prev->end.n <= v->start.n);
		ASSERT(prev == NULL || !continues(prev, prev->flags, v, v->flags));
		ASSERT(v == in_tree);
		ASSERT(v->mm == s->mm);
		ASSERT(v->file != NULL ? rmap_holds(vma_file_rmap(v), v) : v->on_file.vma == NULL);
		ASSERT(v->anon != NULL ? rmap_holds(v->anon, v) : v->on_anon.vma == NULL);
		in_tree = RB_NEXT(vma_tree, &s->tree, v);
		pages += v->end.n - v->start.n;
		cached |= v == s->cache;
		listed++;
		prev = v;
	}
	check_subtree(RB_ROOT(&s->tree), &treed);
	ASSERT(in_tree == NULL && listed == treed && listed == s->count);
	ASSERT(pages == s->pages);
	ASSERT(cached);
}

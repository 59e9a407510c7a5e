/*
 * vmalloc: contiguous addresses over frames that lie anywhere (Linux
 * mm/vmalloc.c, without its lazy purge and per-CPU blocks).
 *
 * The range is tiled by areas, each in one of two red-black trees ordered by
 * address. A busy area ends with a guard page that is never mapped.
 *
 *	start                                                         end
 *	| busy: pages, G | free      | busy: pages, G | free             |
 *
 * Each node of the free tree knows the largest size in its subtree. So the
 * lowest free area that fits is found on one way down: left if something there
 * is large enough, else here, else right.
 *
 * Keeping `largest` right. libbsd's RB_AUGMENT is called where a node gets
 * other children, but an insertion tells only the parent, not the ancestors
 * above it, and so does a removal in one of its two cases. Hence our own walk
 * to the root (update_to_root) after an insertion, and before a removal: there
 * the node is first emptied, so that its going away changes nobody's maximum.
 * The rotations in between compute nodes from stale children at most on the
 * way from the new node to the root, and that way is walked last.
 *
 * Invariants (vmalloc_check executes them):
 * 1. Busy and free areas tile [start, end) without gap or overlap.
 * 2. Two free areas never touch: they would be one.
 * 3. largest == max(own size, largest of both children), for every free node.
 *
 * Failure: everything is acquired before the range is taken and mapped; a
 * failure gives it all back and leaves addresses and frames as before. Freeing
 * allocates nothing: the busy node becomes the free one.
 *
 * Cost: O(log areas) and one frame_alloc a page. An area's frame table comes
 * from kmalloc, so that an area has at most 2 GiB.
 */
#include <errno.h>

#include "base/assert.h"
#include "mm/phys/vmalloc.h"

struct vmap_area {
	uint64_t start, end; /* [start, end), guard page included */
	uint64_t largest;    /* free: of all areas in this subtree, bytes; busy: kept up likewise, unused */
	RB_ENTRY(vmap_area) node;
	struct frame **frames; /* busy: nr_pages of them, in address order */
	uint32_t nr_pages;
};

static uint64_t area_size(const struct vmap_area *a)
{
	return a->end - a->start;
}

static uint64_t largest_below(const struct vmap_area *a)
{
	const struct vmap_area *left = RB_LEFT(a, node), *right = RB_RIGHT(a, node);
	uint64_t largest = area_size(a);

	if (left != NULL)
		largest = MAX(largest, left->largest);
	if (right != NULL)
		largest = MAX(largest, right->largest);
	return largest;
}

static int area_cmp(const struct vmap_area *a, const struct vmap_area *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

#undef RB_AUGMENT
#define RB_AUGMENT(a) ((a)->largest = largest_below(a))
RB_GENERATE_INTERNAL(vmap_tree, vmap_area, node, area_cmp, static __attribute__((unused)))

static void update_to_root(struct vmap_area *a)
{
	for (; a != NULL; a = RB_PARENT(a, node))
		a->largest = largest_below(a);
}

static void free_insert(struct vmalloc *v, struct vmap_area *a)
{
	a->largest = area_size(a);
	RB_INSERT(vmap_tree, &v->free, a);
	update_to_root(a);
}

static void free_remove(struct vmalloc *v, struct vmap_area *a)
{
	a->end = a->start;
	update_to_root(a);
	RB_REMOVE(vmap_tree, &v->free, a);
}

/* New bounds that keep the area between its neighbours. */
static void free_resize(struct vmap_area *a, uint64_t start, uint64_t end)
{
	a->start = start;
	a->end = end;
	update_to_root(a);
}

/* The lowest free area of at least size bytes, or NULL. */
static struct vmap_area *first_fit(const struct vmalloc *v, uint64_t size)
{
	struct vmap_area *a = RB_ROOT(&v->free);

	if (a == NULL || a->largest < size)
		return NULL;
	for (;;) {
		struct vmap_area *left = RB_LEFT(a, node);

		if (left != NULL && left->largest >= size)
			a = left;
		else if (area_size(a) >= size)
			return a;
		else
			a = RB_RIGHT(a, node);
	}
}

/* Cuts size bytes off the front of a free area; returns their address. */
static uint64_t take_front(struct vmalloc *v, struct vmap_area *a, uint64_t size)
{
	uint64_t address = a->start;

	if (area_size(a) > size) {
		free_resize(a, address + size, a->end);
	} else {
		free_remove(v, a);
		kmem_cache_free(&v->areas, a);
	}
	return address;
}

/* The range of a busy area becomes free and merges with its neighbours; the node is used for it or freed. */
static void give_back(struct vmalloc *v, struct vmap_area *busy)
{
	struct vmap_area *next = RB_NFIND(vmap_tree, &v->free, busy);
	struct vmap_area *prev = next != NULL ? RB_PREV(vmap_tree, &v->free, next) : RB_MAX(vmap_tree, &v->free);
	bool joins_prev = prev != NULL && prev->end == busy->start;
	bool joins_next = next != NULL && next->start == busy->end;

	if (!joins_prev && !joins_next) {
		free_insert(v, busy);
		return;
	}
	if (joins_prev && joins_next) {
		uint64_t end = next->end;

		free_remove(v, next);
		kmem_cache_free(&v->areas, next);
		free_resize(prev, prev->start, end);
	} else if (joins_prev) {
		free_resize(prev, prev->start, busy->end);
	} else {
		free_resize(next, busy->start, next->end);
	}
	kmem_cache_free(&v->areas, busy);
}

static void put_frames(struct vmalloc *v, struct frame **frames, uint32_t n)
{
	while (n > 0)
		frame_free(v->phys, frames[--n], 0);
}

/* One by one: single frames are there even when nothing larger is. */
static bool get_frames(struct vmalloc *v, struct frame **frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		frames[i] = frame_alloc(v->phys, 0, 0, MIGRATE_UNMOVABLE, v->depth);
		if (frames[i] == NULL) {
			put_frames(v, frames, i);
			return false;
		}
	}
	return true;
}

/* An area with all its frames, not yet in a tree and without an address; NULL without memory. */
static struct vmap_area *area_create(struct vmalloc *v, uint32_t nr_pages)
{
	struct vmap_area *a = kmem_cache_alloc(&v->areas);

	if (a == NULL)
		return NULL;
	a->largest = 0;
	a->nr_pages = nr_pages;
	a->frames = kmalloc(v->kmalloc, nr_pages * sizeof(a->frames[0]));
	if (a->frames == NULL || !get_frames(v, a->frames, nr_pages)) {
		kfree(v->kmalloc, a->frames);
		kmem_cache_free(&v->areas, a);
		return NULL;
	}
	return a;
}

/* Frees what a busy area holds, not its addresses. */
static void area_drop(struct vmalloc *v, struct vmap_area *a)
{
	put_frames(v, a->frames, a->nr_pages);
	kfree(v->kmalloc, a->frames);
}

int vmalloc_init(struct vmalloc *v, struct phys *p, struct kmalloc *k, uint64_t start, uint64_t end)
{
	int err;

	if (start == 0 || start >= end || ((start | end) & ~PAGE_MASK) != 0)
		return -EINVAL;
	*v = (struct vmalloc){ .phys = p, .kmalloc = k, .start = start, .end = end };
	RB_INIT(&v->free);
	RB_INIT(&v->busy);
	err = kmem_cache_init(&v->areas, p, "vmap_area", sizeof(struct vmap_area), 0, 1);
	if (err != 0)
		return err;

	struct vmap_area *a = kmem_cache_alloc(&v->areas);

	if (a == NULL)
		return -ENOMEM;
	a->start = start;
	a->end = end;
	free_insert(v, a);
	return 0;
}

uint64_t vmalloc(struct vmalloc *v, size_t size)
{
	if (size == 0 || size > v->end - v->start)
		return 0;

	uint64_t nr_pages = DIV_ROUND_UP(size, PAGE_SIZE);
	uint64_t bytes = (nr_pages + 1) * PAGE_SIZE; /* and the guard page */

	struct vmap_area *fit = first_fit(v, bytes);

	if (nr_pages > UINT32_MAX || fit == NULL)
		return 0;

	struct vmap_area *a = area_create(v, (uint32_t)nr_pages);

	if (a == NULL)
		return 0;
	a->start = take_front(v, fit, bytes);
	a->end = a->start + bytes;
	if (v->vmap != NULL && v->vmap(v->ctx, a->start, a->frames, a->nr_pages) != 0) {
		area_drop(v, a);
		give_back(v, a);
		return 0;
	}
	RB_INSERT(vmap_tree, &v->busy, a);
	v->nr_pages += nr_pages;
	return a->start;
}

void vfree(struct vmalloc *v, uint64_t address)
{
	struct vmap_area key = { .start = address };
	struct vmap_area *a = RB_FIND(vmap_tree, &v->busy, &key);

	ASSERT(a != NULL);
	RB_REMOVE(vmap_tree, &v->busy, a);
	if (v->vunmap != NULL)
		v->vunmap(v->ctx, a->start, a->frames, a->nr_pages);
	v->nr_pages -= a->nr_pages;
	area_drop(v, a);
	give_back(v, a);
}

void vmalloc_destroy(struct vmalloc *v)
{
	struct vmap_area *a = RB_ROOT(&v->free);

	/* With nothing busy the free areas have merged into one. */
	ASSERT(RB_EMPTY(&v->busy) && a != NULL && a->start == v->start && a->end == v->end);
	RB_REMOVE(vmap_tree, &v->free, a);
	kmem_cache_free(&v->areas, a);
	kmem_cache_destroy(&v->areas);
}

void vmalloc_check(const struct vmalloc *v)
{
	struct vmap_area *free = RB_MIN(vmap_tree, (struct vmap_tree *)&v->free);
	struct vmap_area *busy = RB_MIN(vmap_tree, (struct vmap_tree *)&v->busy);
	uint64_t at = v->start, pages = 0;
	bool last_free = false;

	while (free != NULL || busy != NULL) {
		if (free != NULL && free->start == at) {
			ASSERT(!last_free && free->end > free->start);
			ASSERT(free->largest == largest_below(free));
			at = free->end;
			free = RB_NEXT(vmap_tree, &v->free, free);
			last_free = true;
		} else {
			ASSERT(busy != NULL && busy->start == at);
			ASSERT(area_size(busy) == ((uint64_t)busy->nr_pages + 1) * PAGE_SIZE);
			for (uint32_t i = 0; i < busy->nr_pages; i++)
				ASSERT(busy->frames[i]->refs == 1 && busy->frames[i]->flags == 0);
			pages += busy->nr_pages;
			at = busy->end;
			busy = RB_NEXT(vmap_tree, &v->busy, busy);
			last_free = false;
		}
	}
	ASSERT(at == v->end && pages == v->nr_pages);
}

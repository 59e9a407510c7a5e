/*
 * The buddy system (Knowlton 1965; Linux mm/page_alloc.c: __rmqueue_smallest,
 * expand, __free_one_page).
 *
 * Free memory is kept as blocks of 2^order frames that start at a multiple of
 * their size. The buddy of a block is the other half of the block twice as
 * large, so its frame number differs in exactly one bit:
 *
 *	pfn        8       10       12               16
 *	order 3    |--------------------------------|
 *	order 2    |---------------|----------------|   12 = 8 ^ (1 << 2)
 *	order 1    |-------|-------|                    10 = 8 ^ (1 << 1)
 *
 * Allocation takes the smallest block that is large enough and gives the upper
 * halves back until it has the right size. Freeing merges with the buddy as
 * long as that one is free and whole.
 *
 * Invariants (phys_check executes them):
 * 1. A free block is described by its head only: FRAME_BUDDY, order, refs 0.
 *    The frames behind the head have flags 0 and refs 0.
 * 2. A free block's buddy is never a free block of the same order: whatever
 *    can be merged is merged. Hence an aligned run of free frames can always
 *    be allocated.
 * 3. A block never leaves its zone, and never holds a frame that is not
 *    online: such a frame has no FRAME_BUDDY, therefore merging stops there.
 * 4. Only heads are written. Memory nobody uses costs the frame table, which
 *    is populated on first touch, two or three frames for every 4 MiB.
 *
 * Cost: at most one step an order, and no scan. An order-0 allocation that
 * finds a block of order 0 touches the zone and two frames.
 *
 * The depth of an allocation decides what it must leave behind (struct zone,
 * wmark and lowmem_reserve). High-order requests are not tested for the
 * fragmentation of the rest, because a block that exists may be taken: nobody
 * compacts memory here.
 *
 * Migrate types. reclaim/gather.c needs blocks of frames whose pages are all
 * the user's, and there would be none if tables and the compressed pool, which
 * may be more than half of all frames, lay among them. So each pageblock of 32
 * frames has a type, and an allocation takes, in this order,
 *
 *   1. the smallest block that is free in a pageblock of its own type
 *   2. a part of a pageblock that is wholly free, which thereby gets the type
 *   3. the largest block that is free in a pageblock of the other type
 *
 * In case 3 a pageblock becomes UNMOVABLE with the first frame that is taken so:
 * one frame of the pool spoils it for as long as that lives, so let the next
 * ones spoil the same; the user's pages in it will leave. It becomes MOVABLE
 * when half of it is free. (With half for both, as in Linux, 16 000 frames of
 * the pool lay in pageblocks of the user.) Requests of the user
 * for more than one frame ask for contiguity and can do without: they never get
 * to case 3.
 *
 * A pageblock that becomes free as a whole loses its type. So memory changes
 * hands by pageblocks as long as there are such, and by single frames rather
 * than not at all. The type stands in the pageblock's first frame, where zero
 * is MOVABLE, so that law 4 holds. A pageblock across the border of a zone
 * stays MOVABLE. (Linux: __rmqueue_fallback, steal_suitable_fallback.
 * Pageblocks there have the size of a huge page; here a budget may be 16 MiB.)
 *
 * Not here: per-CPU lists (the machine's lock is taken for more than one
 * frame's work, so they would save nothing).
 */
#include "base/assert.h"
#include "mm/phys/buddy.h"

static bool in_zone(const struct zone *z, uint32_t pfn, unsigned order)
{
	return pfn >= z->start.n && (uint64_t)pfn + (1u << order) <= (uint64_t)z->start.n + z->spanned;
}

/*
 * Is there a free block of exactly this order at pfn? It never leaves its zone, so only its head need be in this one. Reads a
 * frame that may never have been online: all zeroes, not free.
 */
static bool block_is_free(const struct phys *p, const struct zone *z, uint32_t pfn, unsigned order)
{
	return pfn - z->start.n < z->spanned && (p->frames[pfn].flags & FRAME_BUDDY) && p->frames[pfn].order == order;
}

static void block_insert(const struct phys *p, struct zone *z, struct frame *f, unsigned order, bool tail)
{
	struct free_area *area = &z->area[order];
	struct frame_list *list = &area->list[buddy_type(p, frame_pfn(p, f).n, order)];

	f->flags = FRAME_BUDDY;
	f->order = (uint8_t)order;
	if (tail)
		TAILQ_INSERT_TAIL(list, f, link);
	else
		TAILQ_INSERT_HEAD(list, f, link);
	area->nr_free++;
}

static void block_remove(const struct phys *p, struct zone *z, struct frame *f, unsigned order)
{
	struct free_area *area = &z->area[order];

	TAILQ_REMOVE(&area->list[buddy_type(p, frame_pfn(p, f).n, order)], f, link);
	area->nr_free--;
	f->flags = 0;
}

/* A frame as its new owner gets it: nothing of the last owner is left. */
static void frame_hand_out(struct frame *f, unsigned zone, unsigned order)
{
	f->flags = 0;
	f->order = (uint8_t)order;
	f->zone = (uint8_t)zone;
	f->refs = 1;
	f->private[0] = f->private[1] = 0;
	f->swap.v = 0;
}

/* All pageblocks of a block of at least that size get the type. */
static void set_type(struct phys *p, uint32_t pfn, unsigned order, enum migrate_type type)
{
	for (uint32_t i = 0; i < 1u << order; i += PAGEBLOCK_FRAMES)
		p->frames[pfn + i].type = type & 1;
}

/* The smallest block that is large enough and is the type's or nobody's. */
static struct frame *find_own(const struct zone *z, unsigned order, enum migrate_type type)
{
	struct frame *f = NULL;

	for (; order < PAGEBLOCK_ORDER && f == NULL; order++)
		f = TAILQ_FIRST(&z->area[order].list[type]);
	for (; order < NR_ORDERS && f == NULL; order++)
		f = TAILQ_FIRST(&z->area[order].list[0]);
	return f;
}

/* The free blocks of a pageblock, of which it is known that it is in the zone, change lists with it. */
static void convert(struct phys *p, struct zone *z, uint32_t start, enum migrate_type type)
{
	struct frame *const first = &p->frames[start];
	struct frame_list *from, *to;

	for (struct frame *f = first; f < first + PAGEBLOCK_FRAMES; f += f->flags & FRAME_BUDDY ? 1u << f->order : 1) {
		if (!(f->flags & FRAME_BUDDY))
			continue;
		from = &z->area[f->order].list[first->type];
		to = &z->area[f->order].list[type];
		TAILQ_REMOVE(from, f, link);
		TAILQ_INSERT_TAIL(to, f, link);
	}
	set_type(p, start, PAGEBLOCK_ORDER, type);
}

static unsigned nr_free_in(const struct phys *p, uint32_t start)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < PAGEBLOCK_FRAMES;) {
		const struct frame *f = &p->frames[start + i];
		unsigned step = f->flags & FRAME_BUDDY ? 1u << f->order : 1;

		n += f->flags & FRAME_BUDDY ? step : 0;
		i += step;
	}
	return n;
}

/* The largest block that is free in a pageblock of the other type, which may change sides as a whole. */
static struct frame *find_foreign(struct phys *p, struct zone *z, unsigned order, enum migrate_type type)
{
	const enum migrate_type other = type == MIGRATE_MOVABLE ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;
	struct frame *f = NULL;

	for (unsigned have = PAGEBLOCK_ORDER; have-- > order && f == NULL;)
		f = TAILQ_FIRST(&z->area[have].list[other]);
	if (f == NULL)
		return NULL;
	uint32_t start = ALIGN_DOWN(frame_pfn(p, f).n, PAGEBLOCK_FRAMES);

	if (in_zone(z, start, PAGEBLOCK_ORDER) &&
	    (type == MIGRATE_UNMOVABLE || nr_free_in(p, start) >= PAGEBLOCK_FRAMES / 2))
		convert(p, z, start, type);
	return f;
}

/* Takes a block out of a zone, whatever its watermarks; NULL if it has none that is large enough. */
static struct frame *zone_take(struct phys *p, unsigned zone, unsigned order, enum migrate_type type)
{
	struct zone *z = &p->zones[zone];
	struct frame *f = find_own(z, order, type);

	if (f == NULL && (order == 0 || type == MIGRATE_UNMOVABLE))
		f = find_foreign(p, z, order, type);
	if (f == NULL)
		return NULL;
	unsigned have = f->order;

	block_remove(p, z, f, have);
	if (have >= PAGEBLOCK_ORDER)
		set_type(p, frame_pfn(p, f).n, MAX(order, (unsigned)PAGEBLOCK_ORDER), type);
	while (have > order) {
		have--;
		block_insert(p, z, f + (1u << have), have, false);
	}
	z->free -= 1u << order;
	frame_hand_out(f, zone, order);
	return f;
}

/* What must stay free in zone z when somebody who asked for zone asked digs that deep. */
static uint64_t floor_of(const struct zone *z, unsigned asked, enum alloc_depth depth)
{
	switch (depth) {
	case ALLOC_LOW: return (uint64_t)z->wmark[WMARK_LOW] + z->lowmem_reserve[asked];
	case ALLOC_MIN: return (uint64_t)z->wmark[WMARK_MIN] + z->lowmem_reserve[asked];
	case ALLOC_RESERVE: break;
	}
	return 0;
}

/* One pass over the zonelist, no waking. *above: some zone would have stayed above its floor. */
static struct frame *take_near(struct phys *p, unsigned node, unsigned order, enum migrate_type type,
			       enum alloc_depth depth, bool *above)
{
	const uint8_t *list = p->zonelist[node];

	for (unsigned i = 0; i < p->nr_zones; i++) {
		struct zone *z = &p->zones[list[i]];
		struct frame *f;

		if (z->free < floor_of(z, list[0], depth) + (1u << order))
			continue;
		*above = true;
		f = zone_take(p, list[i], order, type);
		if (likely(f != NULL))
			return f;
	}
	return NULL;
}

/* Every node is below LOW: all their kswapds have work. The zonelist holds each node's zones together. */
static void wake_nodes(struct phys *p, unsigned node)
{
	unsigned last = PHYS_NODES_MAX;

	if (p->wake_kswapd == NULL)
		return;
	for (unsigned i = 0; i < p->nr_zones; i++) {
		unsigned n = p->zones[p->zonelist[node][i]].node;

		if (n != last)
			p->wake_kswapd(p->ctx, n);
		last = n;
	}
}

static bool must_fail(struct phys *p)
{
	if (p->fail_nth > 1) {
		p->fail_nth--;
		return false;
	}
	if (!p->fail_forever)
		p->fail_nth = 0;
	return true;
}

struct frame *frame_alloc(struct phys *p, unsigned node, unsigned order, enum migrate_type type,
			  enum alloc_depth depth)
{
	bool above = false;
	struct frame *f;

	DEBUG_ASSERT(node < p->nr_nodes && order <= MAX_PAGE_ORDER);
	if (unlikely(p->fail_nth != 0) && must_fail(p))
		return NULL;
	f = take_near(p, node, order, type, depth, &above);
	if (likely(f != NULL) || depth != ALLOC_LOW)
		return f;
	/* With a zone above LOW only fragmentation stands in the way, and kswapd does not cure that. */
	if (!above)
		wake_nodes(p, node);
	return take_near(p, node, order, type, ALLOC_MIN, &above);
}

/* Is the frame part of a free block? Then freeing it is a double free. */
static inline bool frame_is_free(const struct phys *p, const struct frame *f)
{
	uint32_t pfn = frame_pfn(p, f).n;

	for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
		const struct frame *head = &p->frames[ALIGN_DOWN(pfn, 1u << order)];

		if ((head->flags & FRAME_BUDDY) && head->order >= order)
			return true;
	}
	return false;
}

/*
 * Would the block merge once its own buddy came back? Then it goes to the tail
 * of its list, where it is taken last and has time to grow (Linux: buddy_merge_likely).
 */
static bool merge_likely(const struct phys *p, const struct zone *z, uint32_t pfn, unsigned order)
{
	if (order + 1 >= MAX_PAGE_ORDER)
		return false;
	uint32_t parent = ALIGN_DOWN(pfn, 2u << order);

	return block_is_free(p, z, parent ^ (2u << order), order + 1);
}

static inline void block_free(struct phys *p, struct frame *f, unsigned order, bool last)
{
	uint32_t pfn = frame_pfn(p, f).n;
	struct zone *z = zone_of(p, pfn);

	ASSERT(f->flags == 0);
	DEBUG_ASSERT(order <= MAX_PAGE_ORDER && ALIGN_DOWN(pfn, 1u << order) == pfn && in_zone(z, pfn, order));
	DEBUG_ASSERT(!frame_is_free(p, f));
	f->refs = 0;
	z->free += 1u << order;
	if (order >= PAGEBLOCK_ORDER && !last)
		set_type(p, pfn, order, MIGRATE_MOVABLE);
	while (order < MAX_PAGE_ORDER) {
		uint32_t buddy = pfn ^ (1u << order);

		if (!block_is_free(p, z, buddy, order))
			break;
		block_remove(p, z, &p->frames[buddy], order);
		pfn &= buddy;
		if (++order == PAGEBLOCK_ORDER)
			set_type(p, pfn, order, MIGRATE_MOVABLE);
	}
	block_insert(p, z, &p->frames[pfn], order, last || merge_likely(p, z, pfn, order));
}

void frame_free(struct phys *p, struct frame *f, unsigned order)
{
	block_free(p, f, order, false);
}

void buddy_free_last(struct phys *p, struct frame *f, unsigned order)
{
	block_free(p, f, order, true);
}

void frame_split(struct phys *p, struct frame *f, unsigned order)
{
	unsigned zone = (unsigned)(zone_of(p, frame_pfn(p, f).n) - p->zones);

	DEBUG_ASSERT(f->flags == 0);
	for (uint32_t i = 0; i < 1u << order; i++)
		frame_hand_out(&f[i], zone, 0);
}
